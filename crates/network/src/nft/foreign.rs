//! Finds rules of others that stand in the way of tasks.

use super::{Hook, SUBSYSTEM, TableFamily};
use crate::netlink::{Attributes, Batch, DUMP, Socket, SocketError};

const GET_CHAIN: u16 = 4;
const INET: u8 = 1;

/// Chains of others that drop what they do not know of, of all that passes this machine. A drop
/// is final in every table, so the packets of tasks are among it unless those chains accept them.
/// Named as `nft list chain` takes them.
pub(crate) fn dropping_forward_chains(
    socket: &Socket,
    own_table: &str,
) -> Result<Vec<String>, SocketError> {
    let mut question = Batch::new();
    question.message(SUBSYSTEM | GET_CHAIN, DUMP, |m| {
        m.raw(&[0; 4]);
        Ok(())
    })?;
    let found = socket.dump(&question)?;
    Ok(found
        .iter()
        .filter_map(|(_, body)| dropping(body, own_table))
        .collect())
}

fn dropping(body: &[u8], own_table: &str) -> Option<String> {
    const DROP: &[u8] = &[0; 4];
    let family = match *body.first()? {
        INET => "inet",
        ip if ip == TableFamily::Ip as u8 => "ip",
        _ => return None,
    };
    let chain = Attributes::after(body, 4);
    let (table, name) = (chain.text(1)?, chain.text(3)?);
    let forward = (Hook::Forward as u32).to_be_bytes();
    let drops = chain.nested(4)?.get(1)? == forward && chain.get(5)? == DROP;
    (drops && table != own_table).then(|| format!("{family} {table} {name}"))
}
