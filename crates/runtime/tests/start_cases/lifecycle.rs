//! Starting, exec, killing, running out of memory, parking.

use crate::Case;
use crate::bed::{Bed, pipes, process, read, wait};
use windlass_runtime::spec::{Exit, Limits};
use windlass_runtime::start::Shared;

pub(crate) const CASES: &[Case] = &[("hello", hello)];

fn hello() {
    let mut bed = Bed::new();
    let mut spec =
        bed.spec("echo hello $X; cat /opt/marker; pwd; hostname; echo $HOME $PATH; exit 7");
    spec.process.env = vec!["X=world".into()];
    spec.process.cwd = "/new/folder".into();
    let (exit, text) = bed.run(&spec).unwrap();
    assert_eq!(
        text,
        "hello world\ntop\n/new/folder\nbox\n/root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    );
    assert_eq!(exit, Exit::Code(7));
}
