//! Reads netlink messages. What is cut short ends the reading; nothing is trusted to be whole.

/// One message of an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    /// Socket that caused a notification; the kernel's number of it.
    pub(crate) port: u32,
    pub(crate) body: &'a [u8],
}

/// The messages in what one `recv` returned.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = read_u32_ne(bytes)? as usize;
        let body = bytes.get(16..length)?;
        let message = Message {
            kind: read_u16_ne(bytes.get(4..)?)?,
            sequence: read_u32_ne(bytes.get(8..)?)?,
            port: read_u32_ne(bytes.get(12..)?)?,
            body,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// The attributes that follow a message's fixed structure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Attributes of `body` after `fixed` bytes.
    pub(crate) fn after(body: &'a [u8], fixed: usize) -> Self {
        Self(body.get(fixed..).unwrap_or(&[]))
    }

    /// The value of the first attribute of this type.
    pub(crate) fn get(self, wanted: u16) -> Option<&'a [u8]> {
        let mut bytes = self.0;
        loop {
            let length = usize::from(read_u16_ne(bytes)?);
            // The two highest bits are flags, not type.
            let kind = read_u16_ne(bytes.get(2..)?)? & 0x3fff;
            let value = bytes.get(4..length)?;
            if kind == wanted {
                return Some(value);
            }
            bytes = bytes.get(length.next_multiple_of(4)..)?;
        }
    }

    /// A text, without its closing NUL.
    pub(crate) fn text(self, wanted: u16) -> Option<String> {
        let value = self.get(wanted)?;
        let end = value.iter().position(|byte| *byte == 0);
        Some(String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned())
    }

    /// The attributes held by an attribute.
    pub(crate) fn nested(self, wanted: u16) -> Option<Attributes<'a>> {
        self.get(wanted).map(Attributes)
    }

    /// A number in this machine's byte order.
    pub(crate) fn u32_ne(self, wanted: u16) -> Option<u32> {
        self.get(wanted).and_then(read_u32_ne)
    }
}

/// The first four bytes as a number in this machine's byte order.
pub(crate) fn read_u32_ne(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.first_chunk()?))
}

fn read_u16_ne(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::super::encode::Batch;
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        let mut batch = Batch::new();
        batch
            .message(16, 0, |m| {
                m.raw(&[0; 16]);
                m.text(3, "wlabcd")?;
                m.nested(18, |m| m.u32_ne(1, 7))
            })
            .expect("encodes");
        batch.message(3, 0, |_| Ok(())).expect("encodes");
        let found: Vec<_> = messages(batch.bytes()).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[1].kind), (16, 3));
        let attributes = Attributes::after(found[0].body, 16);
        assert_eq!(attributes.text(3).as_deref(), Some("wlabcd"));
        assert_eq!(attributes.nested(18).and_then(|n| n.u32_ne(1)), Some(7));
        assert_eq!(attributes.get(99), None);
    }

    #[test]
    fn any_prefix_of_a_message_reads_as_nothing() {
        let mut batch = Batch::new();
        batch
            .message(16, 0, |m| {
                m.raw(&[0; 4]);
                m.text(3, "name")
            })
            .expect("encodes");
        for end in 0..batch.bytes().len() - 1 {
            assert_eq!(messages(&batch.bytes()[..end]).count(), 0, "{end}");
        }
        // A length shorter than its own header must not loop for ever.
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(Attributes::after(&[0; 64], 0).get(1), None);
    }
}
