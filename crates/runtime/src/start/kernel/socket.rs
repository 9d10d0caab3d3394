//! Sockets: messages with descriptors, and the loopback interface.

use std::os::fd::RawFd;

use super::{Sys, call, close, small, word};

/// Brings the loopback interface of the current network namespace up.
pub(crate) fn loopback_up() -> Sys<()> {
    // SAFETY: the request is a zeroed ifreq with a name and flags; SIOCSIFFLAGS reads it.
    unsafe {
        let socket = small(call(
            libc::SYS_socket,
            [
                libc::AF_INET as usize,
                (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as usize,
                0,
                0,
                0,
                0,
            ],
        )?);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        let answer = call(
            libc::SYS_ioctl,
            [
                word(socket),
                libc::SIOCSIFFLAGS as usize,
                (&raw const request) as usize,
                0,
                0,
                0,
            ],
        );
        close(socket);
        answer.map(drop)
    }
}

/// A close-on-exec pair of sockets of the given kind (`SOCK_SEQPACKET`, `SOCK_STREAM`).
pub(crate) fn socketpair(kind: i32) -> Sys<[RawFd; 2]> {
    let mut pair = [-1; 2];
    // SAFETY: the kernel writes two descriptors.
    unsafe {
        call(
            libc::SYS_socketpair,
            [
                libc::AF_UNIX as usize,
                (kind | libc::SOCK_CLOEXEC) as usize,
                0,
                pair.as_mut_ptr() as usize,
                0,
                0,
            ],
        )
    }?;
    Ok(pair)
}

/// Most descriptors one message carries here.
pub(crate) const MESSAGE_FDS_MAX: usize = 8;

/// Sends bytes and descriptors (at most [`MESSAGE_FDS_MAX`]).
pub(crate) fn send(socket: RawFd, bytes: &[u8], fds: &[RawFd]) -> Sys<usize> {
    if fds.len() > MESSAGE_FDS_MAX {
        return Err(libc::EINVAL);
    }
    let mut vector = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut control = [0u64; 2 + MESSAGE_FDS_MAX / 2];
    // SAFETY: the control buffer is aligned and large enough for a header and eight descriptors;
    // the kernel only reads what the header names.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        if !fds.is_empty() {
            let length = size_of_val(fds) as u32;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(length) as usize;
            let cmsg = libc::CMSG_FIRSTHDR(&header);
            (*cmsg).cmsg_level = libc::SOL_SOCKET;
            (*cmsg).cmsg_type = libc::SCM_RIGHTS;
            (*cmsg).cmsg_len = libc::CMSG_LEN(length) as usize;
            std::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(cmsg).cast(), fds.len());
        }
        call(
            libc::SYS_sendmsg,
            [
                word(socket),
                (&raw const header) as usize,
                libc::MSG_NOSIGNAL as usize,
                0,
                0,
                0,
            ],
        )
    }
}

/// Receives bytes and descriptors: `(bytes, descriptors)`; 0 bytes is the end.
pub(crate) fn receive(
    socket: RawFd,
    bytes: &mut [u8],
    fds: &mut [RawFd; MESSAGE_FDS_MAX],
) -> Sys<(usize, usize)> {
    let mut vector = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let mut control = [0u64; 2 + MESSAGE_FDS_MAX / 2];
    // SAFETY: the kernel writes at most the buffers' lengths; the header's own macros walk it, and
    // the count is bounded by the array.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        let length = loop {
            match call(
                libc::SYS_recvmsg,
                [
                    word(socket),
                    (&raw mut header) as usize,
                    libc::MSG_CMSG_CLOEXEC as usize,
                    0,
                    0,
                    0,
                ],
            ) {
                Err(libc::EINTR) => {}
                answer => break answer?,
            }
        };
        let mut count = 0;
        let cmsg = libc::CMSG_FIRSTHDR(&header);
        if !cmsg.is_null() && (*cmsg).cmsg_type == libc::SCM_RIGHTS {
            let size = ((*cmsg).cmsg_len).saturating_sub(libc::CMSG_LEN(0) as usize);
            count = (size / size_of::<RawFd>()).min(MESSAGE_FDS_MAX);
            std::ptr::copy_nonoverlapping(libc::CMSG_DATA(cmsg).cast(), fds.as_mut_ptr(), count);
        }
        Ok((length, count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{file_type, open};
    use super::*;

    #[test]
    fn descriptors_cross_a_socket() {
        let [a, b] = socketpair(libc::SOCK_SEQPACKET).unwrap();
        let null = open(c"/dev/null", libc::O_RDONLY).unwrap();
        assert_eq!(send(a, b"xy", &[null, null, null]), Ok(2));
        let (mut bytes, mut fds) = ([0; 8], [-1; MESSAGE_FDS_MAX]);
        assert_eq!(receive(b, &mut bytes, &mut fds), Ok((2, 3)));
        for fd in [null, fds[0], fds[1], fds[2]] {
            assert_eq!(file_type(fd), Ok(libc::S_IFCHR));
            close(fd);
        }
        close(a);
        assert_eq!(receive(b, &mut bytes, &mut fds), Ok((0, 0)));
        close(b);
    }
}
