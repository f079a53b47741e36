//! The scripts by name; each `.lua` file begins with what it is for, what it takes and what it gives.

use redis::Script;

/// The scripts of `redis/*.lua`, each called by its digest and sent once to a server that does not know it.
pub(super) struct Scripts {
    pub(super) create: Script,
    pub(super) published: Script,
    pub(super) start: Script,
    pub(super) plan: Script,
    pub(super) keep: Script,
    pub(super) claim: Script,
    pub(super) complete: Script,
    pub(super) give_back: Script,
    pub(super) fail: Script,
    pub(super) cancel: Script,
    pub(super) swept: Script,
    pub(super) take: Script,
    pub(super) look: Script,
    pub(super) raise: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            create: Script::new(include_str!("create.lua")),
            published: Script::new(include_str!("published.lua")),
            start: Script::new(include_str!("start.lua")),
            plan: Script::new(include_str!("plan.lua")),
            keep: Script::new(include_str!("keep.lua")),
            claim: Script::new(include_str!("claim.lua")),
            complete: Script::new(include_str!("complete.lua")),
            give_back: Script::new(include_str!("give_back.lua")),
            fail: Script::new(include_str!("fail.lua")),
            cancel: Script::new(include_str!("cancel.lua")),
            swept: Script::new(include_str!("swept.lua")),
            take: Script::new(include_str!("take.lua")),
            look: Script::new(include_str!("look.lua")),
            raise: Script::new(include_str!("raise.lua")),
        }
    }
}
