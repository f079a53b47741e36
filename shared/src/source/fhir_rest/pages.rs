//! Page after page of a search or a history, with an end in sight whatever the server links to.

use url::Url;

use super::bundle::Page;
use super::server::{Cut, Server};
use super::trouble::{Trouble, doing, page_gone};
use super::upstream::{Ask, Content};
use crate::fault::{Fault, FaultKind};
use crate::fhir::ResourceType;

/// What a page has brought to whoever reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// Something new.
    New,
    /// Nothing new.
    Nothing,
    /// All that is needed.
    Enough,
}

/// Whether there is something new on page after page. Links that lead in a circle need not be the same twice.
#[derive(Debug, Default)]
pub struct Progress {
    without: u32,
}

impl Progress {
    /// So many pages one after the other may bring nothing new: a server may repeat rows that have moved.
    const PATIENCE: u32 = 3;

    /// A page has been read, and there is another one.
    pub fn made(&mut self, is_new: bool) -> Result<(), Trouble> {
        self.without = if is_new { 0 } else { self.without + 1 };
        if self.without < Self::PATIENCE { Ok(()) } else { Err(Trouble::Endless) }
    }
}

/// The way through the pages.
pub struct Walk {
    /// The next page to be read; `None` at the end.
    ask: Option<Ask>,
    resource_type: ResourceType,
    progress: Progress,
    is_first: bool,
}

impl Walk {
    /// From a first page, of resources of this type.
    pub fn from(ask: Ask, resource_type: ResourceType) -> Self {
        Self { ask: Some(ask), resource_type, progress: Progress::default(), is_first: true }
    }

    /// The next page; `None` behind the last one. What the page before has brought is told first.
    pub async fn next(&mut self, server: &Server, before: Took) -> Result<Option<Page>, Trouble> {
        if before == Took::Enough {
            return Ok(None);
        }
        let Some(ask) = self.ask.take() else { return Ok(None) };
        if !self.is_first {
            self.progress.made(before == Took::New)?;
        }
        let page = if self.is_first {
            first(server, ask, self.resource_type).await
        } else {
            let page = server.page(&ask, self.resource_type).await.map_err(|trouble| match trouble {
                Trouble::Missing => page_gone(&ask.what),
                other => other,
            });
            page.map(|page| (page, ask.what))
        };
        let (page, what) = page?;
        self.is_first = false;
        if let Some(link) = &page.next {
            self.ask = Some(Ask::get(server.next(link, &what)?, what));
        }
        Ok(Some(page))
    }
}

/// The first page, with fewer entries when it is too much for the server.
async fn first(server: &Server, mut ask: Ask, resource_type: ResourceType) -> Result<(Page, String), Trouble> {
    loop {
        let smaller = match ask.content {
            // Fewer ids are for whoever asks for them.
            _ if ask.divisible => None,
            Content::Nothing => halved(&ask.url),
            _ => None,
        };
        let asked = Ask { divisible: ask.divisible || smaller.is_some(), ..ask.clone() };
        match (server.page(&asked, resource_type).await, smaller) {
            (Err(Trouble::TooMuch(_)), Some(smaller)) => ask.url = smaller,
            (page, _) => return Ok((page?, ask.what)),
        }
    }
}

/// The same with half of its `_count`, when that is more than one.
fn halved(url: &Url) -> Option<Url> {
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let count: u32 = pairs.iter().find(|(name, _)| name == "_count")?.1.parse().ok()?;
    if count < 2 {
        return None;
    }
    let mut smaller = url.clone();
    smaller.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(name, value)| {
        let value = if name == "_count" { (count / 2).to_string() } else { value.clone() };
        (name, value)
    }));
    Some(smaller)
}

impl Server {
    /// One page. The members of Groups in it are left out.
    async fn page(&self, ask: &Ask, resource_type: ResourceType) -> Result<Page, Trouble> {
        if resource_type != ResourceType::GROUP {
            return self.upstream.ask(ask, |reply| Page::read(&reply.body)).await;
        }
        let read = |cut: Cut<()>| Page::read(&cut.rest.unwrap_or_default());
        self.ask_cut(ask, || (), |(), _, _| Ok(()), read).await
    }

    /// Page after page, until `take` has enough or there are no more.
    pub async fn pages(
        &self,
        ask: Ask,
        resource_type: ResourceType,
        mut take: impl FnMut(Page) -> Took,
    ) -> Result<(), Trouble> {
        let (mut walk, mut took) = (Walk::from(ask, resource_type), Took::New);
        while let Some(page) = walk.next(self, took).await? {
            took = take(page);
        }
        Ok(())
    }

    /// Where the next page is.
    pub fn next(&self, link: &str, what: &str) -> Result<Url, Trouble> {
        self.upstream.link(link).ok_or_else(|| {
            let why = "its next page is on another server than ATR_SOURCE_URL, and is not asked for";
            Trouble::Lasting(Fault::new(FaultKind::Invalid, doing(what)).because(why))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_too_much_is_asked_for_by_half_and_nothing_else_of_it_changes() {
        let url = |text: &str| Url::parse(text).expect("it is a URL");
        let at = "https://x.org/Patient?_elements=id&_count=5&_lastUpdated=gt2026-01-01T00%3A00%3A00.000Z";
        let smaller = halved(&url(at)).expect("there is less than five");
        assert_eq!(smaller.as_str(), at.replace("_count=5", "_count=2"));
        assert_eq!(
            halved(&smaller).map(|url| url.query_pairs().any(|(name, value)| name == "_count" && value == "1")),
            Some(true)
        );
        for at in ["https://x.org/Patient?_count=1", "https://x.org/Patient", "https://x.org/Patient?_count=x"] {
            assert_eq!(halved(&url(at)), None, "{at}");
        }
    }
}
