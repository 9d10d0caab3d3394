//! The shim, its protocol and its client with plain processes in place of containers: no privilege
//! is needed.

#[path = "shim/bed.rs"]
mod bed;
#[path = "shim/scenarios.rs"]
mod scenarios;

macro_rules! scenarios {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            scenarios::$name(bed::Bed::new("/windlass-plain", None)).await;
        }
    )*};
}

scenarios! {
    a_killed_shim_is_noticed
    a_mute_shim_is_listed
    a_spare_ends_with_its_agent
    an_event_is_told_until_it_is_heard
    bad_requests_are_refused
    execs_answer
    exits_are_reported
    hostile_frames_end_only_their_connection
    logs_rotate
    missing_commands_leak_nothing
    output_is_logged
    removal_takes_all_with_it
    standard_input_ends_or_stays_open
    stop_sends_its_signal
    stop_turns_into_a_kill_without_an_agent
}
