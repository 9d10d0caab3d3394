//! Writes netlink messages into one buffer, which is sent in one system call.

/// The message asks the kernel for something.
const REQUEST: u16 = 1;
/// The kernel answers also when all went well.
pub(crate) const ACK: u16 = 4;
/// The kernel answers with all objects.
pub(crate) const DUMP: u16 = 0x300;

/// Set on an attribute that holds attributes.
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// Why a message could not be written. The message is not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// An attribute's length is a 16-bit field.
    #[error("netlink attribute {kind} of {bytes} bytes is over the limit of 65535")]
    AttributeTooLong {
        /// Type of the attribute.
        kind: u16,
        /// Its length in bytes, header included.
        bytes: usize,
    },
    /// The kernel reads strings up to the first NUL.
    #[error("the text of netlink attribute {kind} contains a NUL or a line break")]
    Text {
        /// Type of the attribute.
        kind: u16,
    },
    /// A message's length is a 32-bit field.
    #[error("netlink message of {bytes} bytes is too long")]
    MessageTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
}

/// Several messages, numbered from zero, sent together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    messages: u32,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends one message; `body` writes what follows the netlink header.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend(self.messages.to_ne_bytes());
        self.bytes.extend([0; 4]);
        let written = body(&mut Encoder {
            bytes: &mut self.bytes,
        });
        let bytes = self.bytes.len() - start;
        let length = u32::try_from(bytes).map_err(|_| EncodeError::MessageTooLong { bytes });
        match written.and(length) {
            Ok(length) => self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes()),
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        }
        self.messages += 1;
        Ok(())
    }

    /// What goes over the socket.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many messages were written.
    #[cfg(test)]
    pub(crate) fn messages(&self) -> u32 {
        self.messages
    }
}

/// Writes the body of one message.
pub(crate) struct Encoder<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    /// Appends a fixed structure as it is.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Appends an attribute with this value.
    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) -> Result<(), EncodeError> {
        self.wrap(kind, |encoder| {
            encoder.raw(value);
            Ok(())
        })
    }

    /// Appends an attribute that holds attributes.
    pub(crate) fn nested(
        &mut self,
        kind: u16,
        body: impl FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        self.wrap(kind | NESTED, body)
    }

    /// Appends a text with its closing NUL.
    pub(crate) fn text(&mut self, kind: u16, text: &str) -> Result<(), EncodeError> {
        if text.bytes().any(|byte| byte == 0 || byte == b'\n') {
            return Err(EncodeError::Text { kind });
        }
        self.wrap(kind, |encoder| {
            encoder.raw(text.as_bytes());
            encoder.raw(&[0]);
            Ok(())
        })
    }

    /// Appends a number as netfilter reads it.
    pub(crate) fn u32_be(&mut self, kind: u16, value: u32) -> Result<(), EncodeError> {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Appends a number as routing reads it.
    pub(crate) fn u32_ne(&mut self, kind: u16, value: u32) -> Result<(), EncodeError> {
        self.attribute(kind, &value.to_ne_bytes())
    }

    fn wrap(
        &mut self,
        kind: u16,
        body: impl FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        let start = self.bytes.len();
        self.bytes.extend([0; ATTRIBUTE_HEADER]);
        body(&mut Encoder { bytes: self.bytes })?;
        let bytes = self.bytes.len() - start;
        let length = u16::try_from(bytes).map_err(|_| EncodeError::AttributeTooLong {
            kind: kind & !NESTED,
            bytes,
        })?;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        // Attributes begin at multiples of four; the padding is not part of the length.
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
        Ok(())
    }
}

const _: () = assert!(HEADER == 16, "netlink header");

#[cfg(test)]
mod tests {
    use super::*;

    fn body(write: impl FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError>) -> Vec<u8> {
        let mut batch = Batch::new();
        batch.message(7, ACK, write).expect("encodes");
        batch.bytes()[HEADER..].to_vec()
    }

    #[test]
    fn message_carries_length_type_flags_and_number() {
        let mut batch = Batch::new();
        batch
            .message(16, 0x400, |m| {
                m.raw(&[2, 0, 0, 0]);
                Ok(())
            })
            .expect("encodes");
        batch.message(17, 0, |_| Ok(())).expect("encodes");
        let expected: Vec<u8> = [
            &20u32.to_ne_bytes()[..],
            &16u16.to_ne_bytes(),
            &0x401u16.to_ne_bytes(),
            &0u32.to_ne_bytes(),
            &[0; 4],
            &[2, 0, 0, 0],
            &16u32.to_ne_bytes(),
            &17u16.to_ne_bytes(),
            &1u16.to_ne_bytes(),
            &1u32.to_ne_bytes(),
            &[0; 4],
        ]
        .concat();
        assert_eq!(batch.bytes(), expected);
        assert_eq!(batch.messages(), 2);
    }

    #[test]
    fn attributes_are_padded_and_nested() {
        assert_eq!(
            body(|m| m.nested(2, |m| {
                m.text(1, "ab")?;
                m.u32_be(3, 0x0102_0304)
            })),
            [
                &20u16.to_ne_bytes()[..],
                &0x8002u16.to_ne_bytes(),
                &7u16.to_ne_bytes(),
                &1u16.to_ne_bytes(),
                b"ab\0\0",
                &8u16.to_ne_bytes(),
                &3u16.to_ne_bytes(),
                &[1, 2, 3, 4],
            ]
            .concat()
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_nothing() {
        let long = "x".repeat(70_000);
        type Case<'a> = Box<dyn FnOnce(&mut Encoder<'_>) -> Result<(), EncodeError> + 'a>;
        let cases: Vec<Case<'_>> = vec![
            Box::new(|m| m.text(1, &long)),
            Box::new(|m| m.attribute(1, long.as_bytes())),
            Box::new(|m| {
                m.nested(9, |m| {
                    m.attribute(1, &[0; 40_000])?;
                    m.attribute(2, &[0; 40_000])
                })
            }),
            Box::new(|m| m.text(1, "a\0b")),
            Box::new(|m| m.text(1, "a\nb")),
        ];
        for case in cases {
            let mut batch = Batch::new();
            batch.message(1, 0, |_| Ok(())).expect("encodes");
            let before = batch.bytes().len();
            assert!(batch.message(2, 0, case).is_err());
            assert_eq!((batch.bytes().len(), batch.messages()), (before, 1));
        }
    }

    #[test]
    fn longest_attribute_is_exact() {
        let mut batch = Batch::new();
        let most = vec![0; usize::from(u16::MAX) - ATTRIBUTE_HEADER];
        assert!(batch.message(1, 0, |m| m.attribute(1, &most)).is_ok());
        let more = vec![0; most.len() + 1];
        assert_eq!(
            batch.message(1, 0, |m| m.attribute(1, &more)),
            Err(EncodeError::AttributeTooLong {
                kind: 1,
                bytes: 65_536
            })
        );
    }
}
