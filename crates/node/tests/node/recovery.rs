//! What a restarted agent makes of a sandbox that died with nobody watching.

use crate::fixture::template;
use windlass_model::definition::NetworkMode;
use windlass_model::id::Millis;
use windlass_node::plan::{Action, plan};
use windlass_node::recover::{Found, recover};
use windlass_node::view::{Part, Phase, TaskView};

const NOW: Millis = Millis(1_000);

#[test]
fn a_sandbox_that_died_unused_is_made_afresh() {
    let template = template(NetworkMode::Host, "main!");
    for sandbox in [Part::Making, Part::Made] {
        let mut view = TaskView::new(&template);
        view.sandbox = sandbox;
        recover(&template, &mut view, Found::Dead(vec![None]), NOW);
        assert!(view.stopping.is_none(), "{sandbox:?}");
        let actions = plan(&template, &mut view, NOW).actions;
        assert!(actions.contains(&Action::CreateSandbox), "{actions:?}");
    }
}

#[test]
fn a_start_that_may_have_happened_is_not_repeated() {
    let template = template(NetworkMode::Host, "main!");
    let mut view = TaskView::new(&template);
    view.sandbox = Part::Made;
    view.containers[0].phase = Phase::Starting;
    recover(&template, &mut view, Found::Dead(vec![None]), NOW);
    let actions = plan(&template, &mut view, NOW).actions;
    assert!(!actions.contains(&Action::CreateSandbox), "{actions:?}");
    assert!(view.stopping.is_some());
}
