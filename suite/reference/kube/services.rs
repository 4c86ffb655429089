//! stub
use super::world::World;
pub(super) fn start(_world: &World) {}
