//! Real sockets on loopback, a certificate authority of our own, and a shard that only collects.

mod certificates;
mod limits;
mod plain;
mod proxied;
mod secure;
mod secure_hostile;
mod web;
mod world;
