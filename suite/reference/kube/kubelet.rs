//! stub
use super::world::World;
#[derive(Debug, Default)]
pub(super) struct Kubelet {}
pub(super) fn start(_world: &World) {}
