//! The records of a task's logs as they come, each once, also over restarts of the server.

use super::Record;
use crate::client::Pieces;
use crate::failure::Failure;
use crate::link::Link;
use crate::task;
use serde_json::json;
use std::collections::BTreeMap;
use windlass_wire::shapes::task::Task;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    /// The task's whole id.
    pub(crate) task: String,
    pub(crate) tail: Option<u32>,
    /// In the form of a record's time.
    pub(crate) since: Option<String>,
    pub(crate) follow: bool,
    /// All of the task's when nothing.
    pub(crate) container: Option<String>,
}

/// What comes next.
pub(crate) enum Next {
    Records(Vec<Record>),
    /// The server is gone: the next call waits for it. [`GONE`](crate::link::GONE) tells of it.
    Gone,
    /// There is no more; of followed logs with the task, which has stopped.
    End(Option<Box<Task>>),
}

/// A stream of records.
pub(crate) struct Records {
    link: Link,
    query: Query,
    pieces: Option<Pieces>,
    seen: Seen,
    lost: Option<Failure>,
}

impl Records {
    pub(crate) fn new(link: Link, query: Query) -> Records {
        Records {
            link,
            query,
            pieces: None,
            seen: Seen::default(),
            lost: None,
        }
    }

    /// # Errors
    /// The server refuses, or it is gone: when the logs are followed, for too long.
    pub(crate) async fn next(&mut self) -> Result<Next, Failure> {
        if let Some(failure) = self.lost.take() {
            self.link.mend(failure).await?;
            self.seen.rewind();
        }
        match self.some().await {
            Err(failure) if self.query.follow && failure.is_gone() => {
                self.pieces = None;
                self.lost = Some(failure);
                Ok(Next::Gone)
            }
            next => next,
        }
    }

    /// Those of one piece that were not seen yet.
    async fn some(&mut self) -> Result<Next, Failure> {
        let pieces = match &mut self.pieces {
            Some(pieces) => pieces,
            none => {
                let now = format!("{:.9}", jiff::Timestamp::now());
                let pieces = open(&self.link, &self.query, &self.seen).await?;
                if self.query.tail.is_some() {
                    self.seen.opened.get_or_insert(now);
                }
                none.insert(pieces)
            }
        };
        if let Some(mut records) = pieces.next_records::<Record>().await? {
            records.retain(|record| self.seen.is_new(record));
            return Ok(Next::Records(records));
        }
        if !self.query.follow {
            return Ok(Next::End(None));
        }
        // A server that ends closes what it sends: only the task's end is the end of its logs.
        let task = task::by_id(&self.link.client, &self.query.task).await?;
        match task::is_stopped(&task) {
            true => Ok(Next::End(Some(Box::new(task)))),
            false => Err(Failure::Unreachable(format!(
                "the logs of {} ended before it did",
                self.query.task
            ))),
        }
    }
}

async fn open(link: &Link, query: &Query, seen: &Seen) -> Result<Pieces, Failure> {
    let containers: Vec<&str> = query.container.as_deref().into_iter().collect();
    let mut request =
        json!({ "task": query.task, "containers": containers, "follow": query.follow });
    if let (Some(since), Some(members)) = (&query.since, request.as_object_mut()) {
        members.insert("since".to_owned(), since.as_str().into());
    }
    // What follows the last lines is found among all.
    if let (Some(tail), Some(members)) = (query.tail, request.as_object_mut())
        && seen.is_nothing()
    {
        members.insert("tail".to_owned(), tail.into());
    }
    link.client.stream("GetLogs", &request).await
}

/// The last record of each container, so that after a new begin its successors are found.
#[derive(Debug, Default)]
struct Seen {
    last: BTreeMap<String, Last>,
    /// When the last lines were first asked for, in the form of a record's time. What is older was
    /// among these or is not wanted.
    opened: Option<String>,
    /// Whether all records come, not only the last.
    whole: bool,
}

#[derive(Debug, Default)]
struct Last {
    /// RFC 3339 with nanoseconds in UTC: sorts as the moments do.
    time: String,
    /// Records of that moment.
    count: usize,
    /// Of these, how many come again.
    again: usize,
    /// Whether the records come from the begin again.
    rewound: bool,
}

impl Seen {
    fn is_nothing(&self) -> bool {
        self.last.is_empty()
    }

    /// From here on, records come from the begin.
    fn rewind(&mut self) {
        self.whole = !self.is_nothing();
        for last in self.last.values_mut() {
            last.again = last.count;
            last.rewound = true;
        }
    }

    /// Whether it is of the past of a container of which the last lines showed nothing.
    fn is_past(&self, record: &Record) -> bool {
        let opened = self.opened.as_ref();
        self.whole
            && !self.last.contains_key(&record.container)
            && opened.is_some_and(|opened| record.timestamp < *opened)
    }

    fn is_new(&mut self, record: &Record) -> bool {
        if self.is_past(record) {
            return false;
        }
        let last = self.last.entry(record.container.clone()).or_default();
        if last.rewound {
            if record.timestamp < last.time {
                return false;
            }
            if record.timestamp == last.time && last.again > 0 {
                last.again -= 1;
                return false;
            }
            last.rewound = false;
        }
        if record.timestamp != last.time {
            last.count = 0;
            last.time.clone_from(&record.timestamp);
        }
        last.count = last.count.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(container: &str, time: &str) -> Record {
        Record {
            container: container.into(),
            stream: "stdout".into(),
            timestamp: time.into(),
            text: String::new(),
            partial: false,
        }
    }

    #[test]
    fn after_a_new_begin_only_what_is_new_comes() {
        let first = [("a", "1"), ("a", "2"), ("b", "2"), ("a", "2")];
        let mut seen = Seen::default();
        assert!(seen.is_nothing());
        for (container, time) in first {
            assert!(seen.is_new(&record(container, time)));
        }
        for _ in 0..2 {
            seen.rewind();
            // A second record of b at the moment of its last, and one that is later.
            let again = [("b", "2"), ("b", "3"), ("a", "3"), ("c", "1")];
            let fresh: Vec<bool> = first
                .iter()
                .chain(&again)
                .map(|(container, time)| seen.is_new(&record(container, time)))
                .collect();
            let (old, new) = fresh.split_at(first.len());
            assert_eq!(old, [false; 4]);
            let is_first = new == [true; 4];
            assert!(is_first || new == [false; 4], "{new:?}");
        }
    }

    #[test]
    fn after_a_new_begin_the_past_of_a_silent_container_stays_out() {
        let mut seen = Seen {
            opened: Some("5".into()),
            ..Seen::default()
        };
        // Among the last lines.
        assert!(seen.is_new(&record("a", "4")));
        seen.rewind();
        let again = [("a", "3"), ("b", "3"), ("a", "4"), ("b", "4")];
        for (container, time) in again {
            assert!(!seen.is_new(&record(container, time)), "{container} {time}");
        }
        assert!(seen.is_new(&record("b", "6")));
        assert!(seen.is_new(&record("a", "7")));
    }

    #[test]
    fn when_nothing_was_seen_the_last_lines_come_again() {
        let mut seen = Seen {
            opened: Some("5".into()),
            ..Seen::default()
        };
        seen.rewind();
        assert!(seen.is_new(&record("a", "4")));
        assert!(seen.is_new(&record("b", "3")));
    }

    #[test]
    fn a_clock_that_is_set_back_loses_nothing() {
        let mut seen = Seen::default();
        for time in ["5", "3", "4"] {
            assert!(seen.is_new(&record("a", time)));
        }
    }
}
