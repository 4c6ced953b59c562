//! What `overboot build` promises, held against the program itself.
//!
//! - [`fidelity`]: dpkg and apt are content with the tree; no image holds an identity
//! - [`reproducible`]: the same bytes again, also when the first try was killed; sizes; nothing is done twice
//! - [`inspect`]: what images are, what differs, lists of software, what is built anew
//! - [`lock`]: what is pinned stays, and what moves is shown before
//! - [`killed`]: killed at any moment, nothing is lost, and the next run finishes; [`hostile`]: packages and archives that mean ill
//! - [`provisioners`]: every kind of step; inheritance, variables, slots, stacks of overlays
//! - [`ansible`]: roles and playbooks
//! - [`archives`]: packages of several archives, each with its keys; pins; [`ubuntu`]: suites of Ubuntu's shape
//! - [`containers`]: container images as the source of bases and overlays; [`modules`]: modules of the kernel in them
//! - [`caches`]: packages by way of a real apt-cacher-ng, and builds without a network
//! - [`firmware`]: what network cards need first, as a second initrd
//! - [`contract`]: which overlays hold when their base changes
//! - [`again`]: a base whose packages move goes on from those that did not
//! - [`damaged`]: what is damaged or lost in the store is found, and made again
//! - [`shipped`]: every recipe that ships, on stand-ins for what vendors let nobody ship; ten overlays on the boot server
//! - [`mistakes`]: what only the archive or a build finds wrong with a recipe has its place in it
//! - [`refusals`]: bad input, no network: said in words, and nothing is changed; [`full`]: a full disk
//! - [`rootless`]: an ordinary user makes the same bytes as root; where a machine forbids it, it says why
//! - [`registry`]: what is pushed to a registry is pulled elsewhere, checked
//! - [`project`]: a project and its store, seen from outside; [`small`]: a Debian of a handful of packages

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a test may panic, says why it is skipped, and has no public side"
)]

mod again;
mod ansible;
mod archives;
mod caches;
mod containers;
mod contract;
mod damaged;
mod fidelity;
mod firmware;
mod full;
mod gc;
mod hostile;
mod inspect;
mod killed;
mod lock;
mod mistakes;
mod modules;
mod project;
mod provisioners;
mod refusals;
mod registry;
mod reproducible;
mod rootless;
mod shipped;
mod small;
mod ubuntu;
