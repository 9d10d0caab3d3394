//! ListClusters: names of the ACTIVE clusters, by name.

use crate::decision::Answer;
use crate::state::State;
use crate::view;
use windlass_model::cluster::ClusterStatus;
use windlass_model::command::Page;

pub(crate) fn read(state: &State, page: &Page) -> Answer {
    let names = state
        .clusters
        .values()
        .filter(|cluster| cluster.status == ClusterStatus::Active)
        .map(|cluster| cluster.name.to_string())
        .filter(|name| page.after.as_ref().is_none_or(|after| name > after));
    let (names, more) = view::page(names, page.limit);
    Answer::Names { names, more }
}
