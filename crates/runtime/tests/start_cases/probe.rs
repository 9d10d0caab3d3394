pub(crate) fn main(_args: &[std::ffi::OsString]) {}
