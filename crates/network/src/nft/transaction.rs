//! One transaction: all of its changes take effect at once, or none does.

use super::datatype;
use super::{Expression, SUBSYSTEM, TableFamily};
use crate::limits;
use crate::netlink::{
    ACK, Batch, EncodeError, Encoder, NFNL_BATCH_BEGIN, NFNL_BATCH_END, Socket, SocketError,
};

const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;

/// A table: its family and name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableId<'a> {
    pub(crate) family: TableFamily,
    pub(crate) name: &'a str,
}

/// Where a chain sees packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A chain with its rules. Packets that no rule decides are accepted.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    /// `filter` or `nat`.
    pub(crate) kind: &'static str,
    pub(crate) hook: Hook,
    pub(crate) priority: i32,
    pub(crate) rules: Vec<Vec<Expression>>,
}

/// A set, or a map when its elements have data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Set {
    pub(crate) name: &'static str,
    pub(crate) key_type: u32,
    pub(crate) key_bytes: u32,
    /// Type and length of the data.
    pub(crate) data: Option<(u32, u32)>,
}

/// A transaction that is being written.
#[derive(Debug)]
pub(crate) struct Transaction {
    batch: Batch,
    sets: u32,
}

impl Transaction {
    pub(crate) fn new() -> Result<Self, EncodeError> {
        let mut batch = Batch::new();
        batch.message(NFNL_BATCH_BEGIN, 0, |m| {
            m.raw(&generic(0, SUBSYSTEM >> 8));
            Ok(())
        })?;
        Ok(Self { batch, sets: 0 })
    }

    /// Makes sure that the table is there and empty.
    pub(crate) fn replace_table(&mut self, table: TableId<'_>) -> Result<(), EncodeError> {
        // Deleting what is absent would fail, so it is made first.
        self.add_table(table)?;
        self.delete_table(table)?;
        self.add_table(table)
    }

    pub(crate) fn add_table(&mut self, table: TableId<'_>) -> Result<(), EncodeError> {
        self.message(table, NEW_TABLE, CREATE, |m| m.text(1, table.name))
    }

    pub(crate) fn delete_table(&mut self, table: TableId<'_>) -> Result<(), EncodeError> {
        self.message(table, DELETE_TABLE, 0, |m| m.text(1, table.name))
    }

    pub(crate) fn add_chain(
        &mut self,
        table: TableId<'_>,
        chain: &Chain,
    ) -> Result<(), EncodeError> {
        self.message(table, NEW_CHAIN, CREATE, |m| {
            m.text(1, table.name)?;
            m.text(3, chain.name)?;
            m.nested(4, |m| {
                m.u32_be(1, chain.hook as u32)?;
                m.attribute(2, &chain.priority.to_be_bytes())
            })?;
            m.u32_be(5, 1)?;
            m.text(7, chain.kind)
        })?;
        for rule in &chain.rules {
            self.message(table, NEW_RULE, CREATE | APPEND, |m| {
                m.text(1, table.name)?;
                m.text(2, chain.name)?;
                m.nested(4, |m| {
                    rule.iter().try_for_each(|expression| expression.encode(m))
                })
            })?;
        }
        Ok(())
    }

    pub(crate) fn add_set(&mut self, table: TableId<'_>, set: Set) -> Result<(), EncodeError> {
        const MAP: u32 = 8;
        self.sets += 1;
        let id = self.sets;
        self.message(table, NEW_SET, CREATE, |m| {
            m.text(1, table.name)?;
            m.text(2, set.name)?;
            m.u32_be(3, if set.data.is_some() { MAP } else { 0 })?;
            m.u32_be(4, set.key_type)?;
            m.u32_be(5, set.key_bytes)?;
            if let Some((data_type, data_bytes)) = set.data {
                m.u32_be(6, data_type)?;
                m.u32_be(7, data_bytes)?;
            }
            m.u32_be(10, id)?;
            if set.key_type == datatype::INTERFACE_NAME {
                // Not for the kernel: `nft list` reads a name that stands alone by it, in the order of
                // the machine's own bytes.
                const USER_DATA: u16 = 13;
                const KEY_BYTE_ORDER: [u8; 2] = [0, 4];
                const OF_HOST: u32 = 1;
                let order = [&KEY_BYTE_ORDER[..], &OF_HOST.to_ne_bytes()].concat();
                m.attribute(USER_DATA, &order)?;
            }
            Ok(())
        })
    }

    /// Adds elements; those of a set have no data.
    pub(crate) fn add_elements(
        &mut self,
        table: TableId<'_>,
        set: &str,
        elements: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), EncodeError> {
        self.elements(table, NEW_ELEMENT, CREATE, set, elements)
    }

    pub(crate) fn delete_elements(
        &mut self,
        table: TableId<'_>,
        set: &str,
        elements: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), EncodeError> {
        self.elements(table, DELETE_ELEMENT, 0, set, elements)
    }

    /// Closes the transaction and has it done.
    pub(crate) fn commit(self, socket: &Socket) -> Result<(), SocketError> {
        socket.execute(&self.finish()?)
    }

    fn finish(mut self) -> Result<Batch, EncodeError> {
        self.batch.message(NFNL_BATCH_END, 0, |m| {
            m.raw(&generic(0, SUBSYSTEM >> 8));
            Ok(())
        })?;
        Ok(self.batch)
    }

    fn elements(
        &mut self,
        table: TableId<'_>,
        kind: u16,
        flags: u16,
        set: &str,
        elements: &[(Vec<u8>, Option<Vec<u8>>)],
    ) -> Result<(), EncodeError> {
        for chunk in elements.chunks(limits::NFT_ELEMENTS_PER_MESSAGE) {
            self.message(table, kind, flags, |m| {
                m.text(1, table.name)?;
                m.text(2, set)?;
                m.nested(3, |m| {
                    chunk.iter().try_for_each(|(key, data)| {
                        m.nested(1, |m| {
                            m.nested(1, |m| m.attribute(1, key))?;
                            let Some(data) = data else { return Ok(()) };
                            m.nested(2, |m| m.attribute(1, data))
                        })
                    })
                })
            })?;
        }
        Ok(())
    }

    fn message(
        &mut self,
        table: TableId<'_>,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.batch.message(SUBSYSTEM | kind, flags | ACK, |m| {
            m.raw(&generic(table.family as u8, 0));
            body(m)
        })
    }
}

/// The structure that begins every netfilter message.
fn generic(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: TableId<'_> = TableId {
        family: TableFamily::Ip,
        name: "t",
    };

    #[test]
    fn a_transaction_is_framed() {
        let transaction = Transaction::new().expect("encodes");
        let batch = transaction.finish().expect("encodes");
        let expected: Vec<u8> = [
            &[
                20, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10,
            ][..],
            &[
                20, 0, 0, 0, 17, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10,
            ],
        ]
        .concat();
        assert_eq!(batch.bytes(), expected);
    }

    #[test]
    fn an_element_as_the_kernel_reads_it() {
        let mut transaction = Transaction::new().expect("encodes");
        let element = (
            vec![6, 0, 0, 0, 0, 80, 0, 0],
            Some(vec![10, 0, 0, 2, 0, 80, 0, 0]),
        );
        transaction
            .add_elements(TABLE, "ports", &[element])
            .expect("encodes");
        let expected: Vec<u8> = [
            &[
                80, 0, 0, 0, 12, 10, 5, 4, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0,
            ][..],
            &[6, 0, 1, 0, b't', 0, 0, 0],
            &[10, 0, 2, 0, b'p', b'o', b'r', b't', b's', 0, 0, 0],
            &[40, 0, 3, 0x80, 36, 0, 1, 0x80],
            &[16, 0, 1, 0x80, 12, 0, 1, 0, 6, 0, 0, 0, 0, 80, 0, 0],
            &[16, 0, 2, 0x80, 12, 0, 1, 0, 10, 0, 0, 2, 0, 80, 0, 0],
        ]
        .concat();
        assert_eq!(&transaction.batch.bytes()[20..], expected);
    }

    #[test]
    fn many_elements_are_spread_over_messages() {
        let mut transaction = Transaction::new().expect("encodes");
        let elements: Vec<_> = (0..1201u32)
            .map(|n| (vec![0; 28], Some(n.to_be_bytes().to_vec())))
            .collect();
        transaction
            .add_elements(TABLE, "s", &elements)
            .expect("encodes");
        assert_eq!(transaction.batch.messages(), 1 + 3);
    }

    #[test]
    fn text_that_is_no_name_sends_nothing() {
        for name in ["a\0b", "x\ny"] {
            let mut transaction = Transaction::new().expect("encodes");
            let table = TableId {
                family: TableFamily::Ip,
                name,
            };
            assert!(transaction.add_table(table).is_err());
        }
        let long = "x".repeat(70_000);
        let mut transaction = Transaction::new().expect("encodes");
        assert!(
            transaction
                .add_table(TableId {
                    family: TableFamily::Ip,
                    name: &long
                })
                .is_err()
        );
    }
}
