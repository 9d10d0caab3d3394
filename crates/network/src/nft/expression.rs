//! The steps of a rule. Registers are the kernel's: 1 to 4 hold sixteen bytes each, and 8 and up
//! name the same space in words of four bytes, so that a concatenated key is written part by part.

use crate::netlink::{EncodeError, Encoder};

/// Length of an interface name in a register.
const INTERFACE_NAME: usize = 16;

/// Where a packet's bytes are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// What is known of a packet beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    InputName = 6,
    OutputName = 7,
    TransportProtocol = 16,
    InputKind = 26,
    OutputKind = 27,
}

/// What becomes of the packet, in this chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Drop = 0,
    Accept = 1,
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Loads a property of the packet.
    Meta { key: Key, register: u32 },
    /// Loads bytes of the packet.
    Payload {
        base: Base,
        offset: u32,
        length: u32,
        register: u32,
    },
    /// Loads what kind of address the destination is.
    DestinationKind { register: u32 },
    /// Loads the state of the tracked connection, as one bit.
    ConnectionState { register: u32 },
    /// Loads the status bits of the tracked connection.
    ConnectionStatus { register: u32 },
    /// Keeps the bits of a mask.
    And { register: u32, mask: Vec<u8> },
    /// Goes on if the register begins with this value.
    Equal { register: u32, value: Vec<u8> },
    /// Goes on if the register does not begin with this value.
    NotEqual { register: u32, value: Vec<u8> },
    /// Goes on if the set holds the register's value.
    InSet { set: &'static str, register: u32 },
    /// Goes on if the set does not hold it.
    NotInSet { set: &'static str, register: u32 },
    /// Goes on if the map holds the register's value, and loads what belongs to it.
    Map {
        map: &'static str,
        register: u32,
        result: u32,
    },
    /// Sends the connection to the address and port in these registers.
    DestinationNat { address: u32, port: u32 },
    /// Gives the connection the address of the interface it leaves by.
    Masquerade,
    /// Loads a value.
    Load { register: u32, value: Vec<u8> },
    /// Counts packets, so that `nft list` shows what a rule did.
    Counter,
    /// Decides.
    Verdict(Verdict),
}

impl Expression {
    /// Matches an interface's whole name.
    pub(crate) fn interface(key: Key, name: &str, equal: bool) -> [Self; 2] {
        let mut value = name.as_bytes().to_vec();
        // With its NUL, so that a longer name does not match.
        value.resize(INTERFACE_NAME.max(value.len() + 1), 0);
        Self::name(key, value, equal)
    }

    /// Matches how an interface's name begins.
    pub(crate) fn interface_prefix(key: Key, prefix: &str, equal: bool) -> [Self; 2] {
        Self::name(key, prefix.as_bytes().to_vec(), equal)
    }

    fn name(key: Key, value: Vec<u8>, equal: bool) -> [Self; 2] {
        let register = 1;
        let compare = if equal {
            Self::Equal { register, value }
        } else {
            Self::NotEqual { register, value }
        };
        [Self::Meta { key, register }, compare]
    }

    /// Appends the expression to a rule's list.
    pub(crate) fn encode(&self, rule: &mut Encoder<'_>) -> Result<(), EncodeError> {
        rule.nested(1, |m| {
            m.text(1, self.kind())?;
            m.nested(2, |m| self.body(m))
        })
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Payload { .. } => "payload",
            Self::DestinationKind { .. } => "fib",
            Self::ConnectionState { .. } | Self::ConnectionStatus { .. } => "ct",
            Self::And { .. } => "bitwise",
            Self::Equal { .. } | Self::NotEqual { .. } => "cmp",
            Self::InSet { .. } | Self::NotInSet { .. } | Self::Map { .. } => "lookup",
            Self::DestinationNat { .. } => "nat",
            Self::Masquerade => "masq",
            Self::Load { .. } | Self::Verdict(_) => "immediate",
            Self::Counter => "counter",
        }
    }

    fn body(&self, m: &mut Encoder<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Meta { key, register } => {
                m.u32_be(1, *register)?;
                m.u32_be(2, *key as u32)
            }
            Self::Payload {
                base,
                offset,
                length,
                register,
            } => {
                m.u32_be(1, *register)?;
                m.u32_be(2, *base as u32)?;
                m.u32_be(3, *offset)?;
                m.u32_be(4, *length)
            }
            Self::DestinationKind { register } => {
                m.u32_be(1, *register)?;
                m.u32_be(2, 3)?;
                m.u32_be(3, 2)
            }
            Self::ConnectionState { register } => connection(m, *register, 0),
            Self::ConnectionStatus { register } => connection(m, *register, 2),
            Self::And { register, mask } => {
                m.u32_be(1, *register)?;
                m.u32_be(2, *register)?;
                // Longer masks than a register do not exist; the kernel would refuse them.
                m.u32_be(3, u32::try_from(mask.len()).unwrap_or(u32::MAX))?;
                m.nested(4, |m| m.attribute(1, mask))?;
                m.nested(5, |m| m.attribute(1, &vec![0; mask.len()]))
            }
            Self::Equal { register, value } => compare(m, *register, 0, value),
            Self::NotEqual { register, value } => compare(m, *register, 1, value),
            Self::InSet { set, register } => {
                m.text(1, set)?;
                m.u32_be(2, *register)
            }
            Self::NotInSet { set, register } => {
                const INVERTED: u32 = 1;
                m.text(1, set)?;
                m.u32_be(2, *register)?;
                m.u32_be(5, INVERTED)
            }
            Self::Map {
                map,
                register,
                result,
            } => {
                m.text(1, map)?;
                m.u32_be(2, *register)?;
                m.u32_be(3, *result)
            }
            Self::DestinationNat { address, port } => {
                m.u32_be(1, 1)?;
                m.u32_be(2, 2)?;
                m.u32_be(3, *address)?;
                m.u32_be(5, *port)
            }
            Self::Masquerade | Self::Counter => Ok(()),
            Self::Load { register, value } => {
                m.u32_be(1, *register)?;
                m.nested(2, |m| m.attribute(1, value))
            }
            Self::Verdict(verdict) => {
                m.u32_be(1, 0)?;
                m.nested(2, |m| m.nested(2, |m| m.u32_be(1, *verdict as u32)))
            }
        }
    }
}

fn connection(m: &mut Encoder<'_>, register: u32, key: u32) -> Result<(), EncodeError> {
    m.u32_be(1, register)?;
    m.u32_be(2, key)
}

fn compare(m: &mut Encoder<'_>, register: u32, op: u32, value: &[u8]) -> Result<(), EncodeError> {
    m.u32_be(1, register)?;
    m.u32_be(2, op)?;
    m.nested(3, |m| m.attribute(1, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Batch;

    fn encoded(expression: &Expression) -> Vec<u8> {
        let mut batch = Batch::new();
        batch
            .message(1, 0, |m| expression.encode(m))
            .expect("encodes");
        batch.bytes()[16..].to_vec()
    }

    #[test]
    fn comparison_as_the_kernel_reads_it() {
        let bytes = encoded(&Expression::Equal {
            register: 1,
            value: vec![6],
        });
        let expected: Vec<u8> = [
            &[44, 0, 1, 0x80, 8, 0, 1, 0][..],
            b"cmp\0",
            &[32, 0, 2, 0x80],
            &[8, 0, 1, 0, 0, 0, 0, 1],
            &[8, 0, 2, 0, 0, 0, 0, 0],
            &[12, 0, 3, 0x80, 5, 0, 1, 0, 6, 0, 0, 0],
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn verdict_as_the_kernel_reads_it() {
        let bytes = encoded(&Expression::Verdict(Verdict::Accept));
        let expected: Vec<u8> = [
            &[48, 0, 1, 0x80, 14, 0, 1, 0][..],
            b"immediate\0\0\0",
            &[28, 0, 2, 0x80],
            &[8, 0, 1, 0, 0, 0, 0, 0],
            &[16, 0, 2, 0x80, 12, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 1],
        ]
        .concat();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_name_is_compared_whole_and_a_prefix_is_not() {
        let [_, whole] = Expression::interface(Key::InputName, "wlabcd", true);
        let [_, prefix] = Expression::interface_prefix(Key::InputName, "wlabcd-", false);
        assert_eq!(
            whole,
            Expression::Equal {
                register: 1,
                value: b"wlabcd\0\0\0\0\0\0\0\0\0\0".to_vec()
            }
        );
        assert_eq!(
            prefix,
            Expression::NotEqual {
                register: 1,
                value: b"wlabcd-".to_vec()
            }
        );
    }
}
