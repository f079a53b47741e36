//! Pages of a listing: a `next` link is a token that stands for a listing and for where its page begins. A page is looked up
//! when it is asked for: what changed meanwhile shows, but nothing that stayed as it was is left out or comes twice.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bundle::Entry;
use crate::history::History;
use crate::search::Search;
use crate::store::{Version, opaque};

/// What is given page by page.
#[derive(Clone, Debug)]
pub enum Listing {
    Search(Arc<Search>),
    History(Arc<History>),
}

/// A page of it.
#[derive(Clone, Debug)]
pub struct Page {
    pub listing: Listing,
    /// Behind what; the first page if there is nothing.
    pub from: Option<Cursor>,
    /// What the client asked for the first page, for the matching of faults.
    pub asked: Arc<str>,
}

/// The last row of the page before.
#[derive(Clone, Debug)]
pub struct Cursor {
    pub write: u64,
    pub id: Arc<str>,
    /// How many rows the listing had when its first page was given.
    pub total: usize,
    /// The first row of the page before, for a server that gives it twice.
    pub first_row: Option<Entry>,
}

/// The rows of a page.
#[derive(Default)]
pub struct Found {
    pub versions: Vec<Arc<Version>>,
    pub total: usize,
    pub has_more: bool,
}

/// The pages that were linked to. They are kept as long as the server lives.
#[derive(Default)]
pub struct Pages {
    pages: HashMap<String, Page>,
}

impl Pages {
    /// Keeps a page; gives the token that leads to it.
    pub fn keep(&mut self, page: Page) -> String {
        let token = opaque(self.pages.len() as u64 + 1);
        self.pages.insert(token.clone(), page);
        token
    }

    /// The page that a token leads to.
    pub fn get(&self, token: &str) -> Option<Page> {
        self.pages.get(token).cloned()
    }
}

impl Listing {
    /// How many rows a page is to have, as the client wishes it.
    pub fn count(&self) -> Option<usize> {
        match self {
            Self::Search(search) => search.count,
            Self::History(history) => history.count,
        }
    }

    /// How many ids it asks for.
    pub fn ids(&self) -> usize {
        match self {
            Self::Search(search) => search.ids.as_ref().map_or(0, Vec::len),
            Self::History(_) => 0,
        }
    }
}
