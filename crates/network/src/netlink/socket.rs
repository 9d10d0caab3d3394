//! A netlink socket. The kernel works on a request inside `send`, so that its answer is there when
//! `send` returns: nothing here waits for anything but dumps, which the kernel makes on reading.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::decode::{Attributes, Message, messages};
use super::encode::{Batch, EncodeError};
use super::read_u32_ne;
use crate::limits;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Which part of the kernel is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Route,
    Netfilter,
}

/// Why a request over netlink failed.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The request could not be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The kernel refused a message of the request.
    #[error("the kernel refused message {message} of a netlink request: {source}{}", hint(.detail))]
    Refused {
        /// Number of the message in its batch.
        message: u32,
        /// The kernel's reason.
        source: io::Error,
        /// The kernel's own words, where it has some.
        detail: Option<String>,
    },
    /// The socket itself failed.
    #[error("netlink socket: {0}")]
    Io(#[from] io::Error),
}

fn hint(detail: &Option<String>) -> String {
    detail
        .as_ref()
        .map_or_else(String::new, |text| format!(" ({text})"))
}

impl SocketError {
    /// The kernel's error number, when the kernel refused a message.
    pub(crate) fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// A netlink socket, of the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    port: u32,
}

impl Socket {
    pub(crate) fn open(family: Family) -> io::Result<Self> {
        Self::open_in_groups(family, 0)
    }

    /// Opens a socket that hears the notifications of these groups (bit `n - 1` for group `n`).
    pub(crate) fn open_in_groups(family: Family, groups: u32) -> io::Result<Self> {
        let protocol = match family {
            Family::Route => libc::NETLINK_ROUTE,
            Family::Netfilter => libc::NETLINK_NETFILTER,
        };
        // SAFETY: takes no pointers; the result is checked before use.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                protocol,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just returned by the kernel and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // Whole rule sets go in one send, and a burst of notifications must not be lost.
        rustix::net::sockopt::set_socket_send_buffer_size_force(&fd, limits::NETLINK_BUFFER)?;
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&fd, limits::NETLINK_BUFFER)?;
        // Answers carry the kernel's words instead of a copy of our request. Older kernels refuse
        // this, and then errors are only shorter.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            let on: libc::c_int = 1;
            // SAFETY: the value is a live integer and its size is given.
            unsafe {
                libc::setsockopt(
                    fd.as_raw_fd(),
                    libc::SOL_NETLINK,
                    option,
                    (&raw const on).cast(),
                    size_of::<libc::c_int>() as libc::socklen_t,
                );
            }
        }
        let port = bind(&fd, groups)?;
        Ok(Self { fd, port })
    }

    /// The kernel's number of this socket, which its notifications carry.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Sends a batch and checks the answers.
    ///
    /// Errors are returned with the number of the message refused. Messages before it have taken
    /// effect, unless they are an nftables transaction.
    pub(crate) fn execute(&self, batch: &Batch) -> Result<(), SocketError> {
        self.send(batch)?;
        let mut refused = None;
        let mut buffer = vec![0; limits::NETLINK_READ];
        loop {
            let length = match self.receive(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            for message in messages(&buffer[..length]) {
                if let (NLMSG_ERROR, None) = (message.kind, &refused) {
                    refused = refusal(&message);
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Sends one question that has one answer, and returns its body.
    pub(crate) fn query(&self, batch: &Batch) -> Result<Vec<u8>, SocketError> {
        self.send(batch)?;
        let mut buffer = vec![0; limits::NETLINK_READ];
        let length = self.receive(&mut buffer)?;
        let no_answer = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let message = messages(&buffer[..length]).next().ok_or_else(no_answer)?;
        match message.kind {
            NLMSG_ERROR => Err(refusal(&message).unwrap_or_else(|| no_answer().into())),
            _ => Ok(message.body.to_vec()),
        }
    }

    /// Sends one dump request and returns the bodies of all answers.
    pub(crate) fn dump(&self, batch: &Batch) -> Result<Vec<(u16, Vec<u8>)>, SocketError> {
        self.send(batch)?;
        let mut found = Vec::new();
        let mut buffer = vec![0; limits::NETLINK_READ];
        loop {
            // Each read makes the kernel write the next part, so one is always there.
            let length = self.receive(&mut buffer)?;
            for message in messages(&buffer[..length]) {
                match message.kind {
                    NLMSG_DONE => return Ok(found),
                    NLMSG_ERROR => return refusal(&message).map_or(Ok(found), Err),
                    kind => found.push((kind, message.body.to_vec())),
                }
            }
        }
    }

    /// Reads what is there and hands each message to `each`; `WouldBlock` when nothing is.
    pub(crate) fn read(&self, mut each: impl FnMut(Message<'_>)) -> io::Result<()> {
        let mut buffer = vec![0; limits::NETLINK_READ];
        let length = self.receive(&mut buffer)?;
        messages(&buffer[..length]).for_each(&mut each);
        Ok(())
    }

    fn send(&self, batch: &Batch) -> io::Result<()> {
        let bytes = batch.bytes();
        // SAFETY: pointer and length are those of a live slice.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        match usize::try_from(sent) {
            Err(_) => Err(io::Error::last_os_error()),
            Ok(sent) if sent != bytes.len() => Err(io::ErrorKind::WriteZero.into()),
            Ok(_) => Ok(()),
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: pointer and length are those of a live slice that nobody else uses.
        let received = unsafe {
            libc::recv(
                self.fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

/// Binds to an address of the kernel's choice and returns it.
fn bind(fd: &OwnedFd, groups: u32) -> io::Result<u32> {
    // SAFETY: all fields of this structure may be zero.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = groups;
    let mut length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
    // SAFETY: the address is live and its length is given.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    if bound != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel writes at most `length` bytes into a live structure of that size.
    let named =
        unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut address).cast(), &raw mut length) };
    if named != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(address.nl_pid)
}

/// The refusal in an error message; none when the message says that all is well.
fn refusal(message: &Message<'_>) -> Option<SocketError> {
    let number = read_u32_ne(message.body)? as i32;
    if number == 0 {
        return None;
    }
    // The error is followed by the header of the refused message, then by attributes.
    Some(SocketError::Refused {
        message: message.sequence,
        source: io::Error::from_raw_os_error(number.wrapping_neg()),
        detail: Attributes::after(message.body, 20).text(1),
    })
}
