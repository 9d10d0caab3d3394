//! Reads the entries of a layer: tar as GNU, Go and the OCI specification write it.
//!
//! Readers of tar that disagree about one header are a known way to smuggle files, so this one has
//! a single rule: an extension header (PAX or GNU long name) speaks about the next entry, wherever
//! it says more than the header it wins, and where readers would decide differently it is an error.
//! Where Docker's and podman's reader (Go's) and POSIX agree on an oddity it is taken as they take
//! it: an empty record leaves the header's value, of two records the last one counts, a global
//! header changes nothing, and what is no file has no content, whatever size it claims. Extension
//! headers have a size limit, because they are held in memory; file contents are only streamed.
//!
//! Elsewhere: what an entry may do to the file system (`unpack`).

use std::io::{self, Read};

use crate::limits::Limits;
use crate::sparse::{Map, Records, Sparse};

const BLOCK: usize = 512;

/// One entry of a layer, with all extension headers applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name as written: may be absolute, hold `..`, or not be UTF-8.
    pub(crate) path: Vec<u8>,
    /// The target of a symbolic or hard link.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits, set-user-id and the like: the low twelve bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    /// Bytes of content that follow.
    pub(crate) size: u64,
    /// How the content makes a larger file.
    pub(crate) sparse: Option<Sparse>,
    /// Names and values in the order of the archive.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Symlink,
    HardLink,
    Fifo,
    Device,
}

/// Reads entries one after the other. Between two calls of [`Entries::next`] it is itself the
/// reader of the current entry's content.
pub(crate) struct Entries<R> {
    inner: R,
    /// Content of the current entry that was not read yet.
    content: u64,
    /// Zero bytes between the content and the next header.
    padding: u64,
    path_max: usize,
    extension_max: u64,
    ended: bool,
}

/// What extension headers said about the entry that follows them.
#[derive(Default)]
struct Extensions {
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

/// The records of one PAX header.
#[derive(Default)]
struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<(i64, u32)>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Records,
}

impl<R: Read> Entries<R> {
    pub(crate) fn new(inner: R, limits: &Limits) -> Self {
        Self {
            inner,
            content: 0,
            padding: 0,
            path_max: limits.path_bytes,
            extension_max: limits.extension_bytes,
            ended: false,
        }
    }

    /// The next entry, or `None` at the end of the archive. Content that was not read is skipped.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        let mut extended = false;
        loop {
            self.skip_content()?;
            // An extension header that no entry follows says nothing.
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = number(&header[124..136], "size")?;
            match header[156] {
                b'L' => set_once(&mut extensions.long_path, self.long_name(size)?)?,
                b'K' => set_once(&mut extensions.long_link, self.long_name(size)?)?,
                b'x' => {
                    if extensions.pax.is_some() {
                        return Err(bad("two PAX headers in a row"));
                    }
                    extensions.pax = Some(Pax::read(&self.extension(size)?)?);
                }
                b'g' if extended => {
                    return Err(bad("a global header between an extension and its entry"));
                }
                b'g' => {
                    self.expect_content(size)?;
                    continue;
                }
                kind => return self.entry(&header, kind, size, extensions).map(Some),
            }
            extended = true;
        }
    }

    fn entry(
        &mut self,
        header: &[u8; BLOCK],
        kind: u8,
        size: u64,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        let pax = extensions.pax.unwrap_or_default();
        let records = match kind {
            b'0' | 0 | b'7' => pax.sparse.finish(pax.size.unwrap_or(size))?,
            _ => None,
        };
        let names = Names {
            path: either(extensions.long_path, pax.path.clone())?,
            link: either(extensions.long_link, pax.link.clone())?,
            sparse: records.is_some().then(|| pax.sparse.name.clone()).flatten(),
            bytes_max: self.path_max,
        };
        let mut entry = entry(header, kind, size, pax, names)?;
        self.expect_content(entry.size)?;
        match records {
            None => {}
            Some(Map::Known(sparse)) => entry.sparse = Some(sparse),
            Some(Map::Ahead(length)) => {
                let (size, map_max) = (entry.size, self.extension_max);
                entry.sparse = Some(Sparse::read_map(length, size, map_max, self)?);
            }
        }
        Ok(entry)
    }

    /// Reads what follows the last entry, which belongs to the layer's digest, and gives back the
    /// reader below.
    pub(crate) fn finish(mut self) -> io::Result<R> {
        io::copy(&mut self.inner, &mut io::sink())?;
        Ok(self.inner)
    }

    fn expect_content(&mut self, size: u64) -> io::Result<()> {
        self.content = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        size.checked_add(self.padding)
            .map(drop)
            .ok_or_else(|| bad("a size beyond all bounds"))
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let content = std::mem::take(&mut self.content);
        if self.skip(content)? < content {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let padding = std::mem::take(&mut self.padding);
        // Some writers leave out the zeros behind the last content.
        self.ended |= self.skip(padding)? < padding;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        io::copy(&mut self.inner.by_ref().take(bytes), &mut io::sink())
    }

    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        if self.ended {
            return Ok(None);
        }
        let Some(block) = self.block()? else {
            // Go writes archives without an end mark when it is asked for a stream.
            self.ended = true;
            return Ok(None);
        };
        if block.iter().all(|&b| b == 0) {
            self.ended = true;
            return match self.block()? {
                Some(second) if second.iter().any(|&b| b != 0) => {
                    Err(bad("data after an end mark"))
                }
                _ => Ok(None),
            };
        }
        // Early writers added up signed bytes.
        let (mut sum, mut signed_sum) = (0, 0);
        for (i, &byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&i) { b' ' } else { byte };
            sum += i64::from(byte);
            signed_sum += i64::from(byte.cast_signed());
        }
        if ![sum, signed_sum].contains(&signed(&block[148..156])?) {
            return Err(bad("a header with a wrong checksum"));
        }
        Ok(Some(block))
    }

    fn block(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Some(block))
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > self.extension_max {
            return Err(bad(format!("an extension header of {size} bytes")));
        }
        self.expect_content(size)?;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn long_name(&mut self, size: u64) -> io::Result<Vec<u8>> {
        let mut name = self.extension(size)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }
}

impl<R: Read> Read for Entries<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer
            .len()
            .min(usize::try_from(self.content).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let n = self.inner.read(&mut buffer[..want])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.content -= n as u64;
        Ok(n)
    }
}

/// What extension headers say of names.
struct Names {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    /// Of a sparse file, whose other name is a made-up one.
    sparse: Option<Vec<u8>>,
    bytes_max: usize,
}

/// A GNU long name and a PAX record for the same entry are read differently by different tools.
fn either(long: Option<Vec<u8>>, pax: Option<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match (long, pax) {
        (Some(_), Some(_)) => Err(bad("an entry with a name of each of two kinds")),
        (long, pax) => Ok(long.or(pax)),
    }
}

fn entry(
    header: &[u8; BLOCK],
    kind: u8,
    header_size: u64,
    pax: Pax,
    names: Names,
) -> io::Result<Entry> {
    let kind = match kind {
        b'0' | 0 | b'7' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' | b'4' => Kind::Device,
        b'5' => Kind::Folder,
        b'6' => Kind::Fifo,
        b'S' => return Err(bad("a GNU sparse file, which OCI layers may not hold")),
        other => {
            return Err(bad(format!(
                "an entry of unknown type {:?}",
                char::from(other)
            )));
        }
    };
    // Some writers give the size of a hard link's target, some a folder's: only files have content.
    let size = match kind {
        Kind::File => pax.size.unwrap_or(header_size),
        _ => 0,
    };
    let path = names.sparse.or(names.path);
    let path = path.map_or_else(|| header_path(header), Ok)?;
    let link = names
        .link
        .unwrap_or_else(|| text(&header[157..257]).to_vec());
    for name in [&path, &link] {
        if name.len() > names.bytes_max {
            return Err(bad(format!("a name of {} bytes", name.len())));
        }
        if name.contains(&0) {
            return Err(bad("a name with a zero byte"));
        }
    }
    // The old way to write a folder: a file whose name ends in a slash.
    let kind = match kind {
        Kind::File if path.ends_with(b"/") && size == 0 => Kind::Folder,
        kind => kind,
    };
    let mtime = match pax.mtime {
        Some(mtime) => mtime,
        None => (signed(&header[136..148])?, 0),
    };
    Ok(Entry {
        kind,
        mode: (number(&header[100..108], "mode")? & 0o7777) as u32,
        uid: id(pax
            .uid
            .map_or_else(|| number(&header[108..116], "uid"), Ok)?)?,
        gid: id(pax
            .gid
            .map_or_else(|| number(&header[116..124], "gid"), Ok)?)?,
        path,
        link,
        mtime,
        size,
        sparse: None,
        xattrs: pax.xattrs,
    })
}

fn header_path(header: &[u8; BLOCK]) -> io::Result<Vec<u8>> {
    let name = text(&header[..100]);
    // Only the POSIX form has a prefix; the GNU form keeps times there.
    if &header[257..263] == b"ustar\0" && header[345] != 0 {
        return Ok([text(&header[345..500]), name].join(&b'/'));
    }
    Ok(name.to_vec())
}

impl Pax {
    fn read(records: &[u8]) -> io::Result<Self> {
        let mut pax = Self::default();
        for record in pax_records(records) {
            let (key, value) = record?;
            match key {
                b"path" => pax.path = given(value).map(<[u8]>::to_vec),
                b"linkpath" => pax.link = given(value).map(<[u8]>::to_vec),
                b"size" => pax.size = given(value).map(decimal).transpose()?,
                b"uid" => pax.uid = given(value).map(decimal).transpose()?,
                b"gid" => pax.gid = given(value).map(decimal).transpose()?,
                b"mtime" => pax.mtime = given(value).map(pax_time).transpose()?,
                _ if key.starts_with(b"GNU.sparse.") => pax.sparse.apply(key, value)?,
                _ => {
                    // Others (atime, ctime, uname, comment) say nothing that is kept.
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        pax.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(pax)
    }
}

/// A record without a value leaves what the header says.
fn given(value: &[u8]) -> Option<&[u8]> {
    (!value.is_empty()).then_some(value)
}

/// Records of the form `LENGTH KEY=VALUE\n`, where LENGTH counts the whole record.
fn pax_records(mut rest: &[u8]) -> impl Iterator<Item = io::Result<(&[u8], &[u8])>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let record = (|| {
            let space = rest.iter().position(|&b| b == b' ')?;
            let length = usize::try_from(decimal(&rest[..space]).ok()?).ok()?;
            let body = rest.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = body.iter().position(|&b| b == b'=')?;
            Some((&body[..equals], &body[equals + 1..], length))
        })();
        match record {
            Some((key, value, length)) => {
                rest = &rest[length..];
                Some(Ok((key, value)))
            }
            None => {
                rest = &[];
                Some(Err(bad("a damaged PAX header")))
            }
        }
    })
}

fn pax_time(value: &[u8]) -> io::Result<(i64, u32)> {
    let parsed = (|| {
        let value = std::str::from_utf8(value).ok()?;
        let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
        let seconds: i64 = whole.parse().ok()?;
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let nanos: u32 = format!("{:0<9.9}", fraction).parse().ok()?;
        // The fraction of a time before 1970 counts backwards.
        match whole.starts_with('-') && nanos > 0 {
            true => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos)),
            false => Some((seconds, nanos)),
        }
    })();
    parsed.ok_or_else(|| bad("a time that is no number"))
}

fn set_once(slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> io::Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad("an entry with two long names")),
    }
}

/// A field up to its first zero byte.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&b| b == 0).next().unwrap_or_default()
}

fn decimal(digits: &[u8]) -> io::Result<u64> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| valid)
        .and_then(|d| d.parse().ok())
        .ok_or_else(|| bad("a number that is none"))
}

fn number(field: &[u8], what: &str) -> io::Result<u64> {
    u64::try_from(signed(field)?).map_err(|_| bad(format!("a negative {what}")))
}

/// An octal field, or the binary form that GNU uses for what octal cannot hold.
fn signed(field: &[u8]) -> io::Result<i64> {
    match field.first() {
        Some(&first) if first & 0x80 != 0 => {
            let negative = first & 0x40 != 0;
            let mut value: i128 = if negative { -1 } else { 0 };
            for (i, &byte) in field.iter().enumerate() {
                let byte = match (i, negative) {
                    (0, true) => byte,
                    (0, false) => byte & 0x7f,
                    _ => byte,
                };
                value = (value << 8) | i128::from(byte);
                // The top bytes repeat the sign; more than eight meaningful ones fit nothing here.
                if i64::try_from(value).is_err() {
                    return Err(bad("a number that is too large"));
                }
            }
            i64::try_from(value).map_err(|_| bad("a number that is too large"))
        }
        _ => {
            // What stands behind a zero byte is left over in the writer's buffer.
            let start = field.iter().position(|b| !matches!(b, 0 | b' '));
            let digits = text(&field[start.unwrap_or(field.len())..]).trim_ascii_end();
            digits.iter().try_fold(0i64, |value, &b| match b {
                b'0'..=b'7' => value
                    .checked_mul(8)
                    .and_then(|v| v.checked_add(i64::from(b - b'0')))
                    .ok_or_else(|| bad("a number that is too large")),
                _ => Err(bad("a number that is not octal")),
            })
        }
    }
}

fn id(value: u64) -> io::Result<u32> {
    // The highest value means "leave as it is" to the kernel.
    u32::try_from(value)
        .ok()
        .filter(|&id| id != u32::MAX)
        .ok_or_else(|| bad(format!("an owner {value} that does not fit 32 bits")))
}

fn bad(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
