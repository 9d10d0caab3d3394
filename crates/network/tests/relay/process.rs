//! The relay that the tests start.

fn main() {
    windlass_network::relay::main();
}
