//! The pages of a manifest (Bulk Data STU3, `allowPartialManifests`). Pure.
//!
//! What a page has shown stays as it is, while the job goes on: each task that has left files makes a page, in the order in
//! which they were completed, with its `error` files on it. The account of the members is known only when all is done, so
//! it stands on a page of its own at the end.

use shared::export::{Output, Tally, Written};
use shared::fhir::IssueCode;

use crate::error::ApiError;
use crate::parameters::{of_query, refused};

/// A page of a manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Its files.
    pub outputs: Vec<Output>,
    /// The number of the next page, when there is one.
    pub next: Option<usize>,
    /// The account of the members.
    pub account: Option<Tally>,
}

/// Which page a query asks for, from 1; the first when it does not say.
pub fn number(query: &str) -> Result<usize, ApiError> {
    let pairs = of_query(query);
    let Some((name, value)) = pairs.iter().find(|(name, _)| name == "page") else { return Ok(1) };
    value.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
        let problem = format!("page is a number from 1 on, and not '{value}'; follow the links of the manifest");
        refused(name, IssueCode::Value, problem)
    })
}

/// The manifest of a completed job in one piece.
pub fn whole(written: Vec<Written>, has_account: bool) -> Page {
    let account = has_account.then(|| account(&written));
    Page { outputs: written.into_iter().flat_map(|written| written.outputs).collect(), next: None, account }
}

/// A page of a running job; `None` when it is not there yet.
pub fn of_running(written: Vec<Written>, number: usize) -> Option<Page> {
    let mut pages = with_files(written).skip(number - 1);
    let outputs = pages.next()?;
    Some(Page { outputs, next: pages.next().map(|_| number + 1), account: None })
}

/// A page of a completed job; `None` when there is none of this number. There is always a first one.
pub fn of_completed(written: Vec<Written>, number: usize, has_account: bool) -> Option<Page> {
    let account = has_account.then(|| account(&written));
    let mut pages: Vec<Page> = with_files(written).map(|outputs| Page { outputs, ..Page::default() }).collect();
    if account.is_some() || pages.is_empty() {
        pages.push(Page { account, ..Page::default() });
    }
    let next = (number < pages.len()).then(|| number + 1);
    let page = pages.into_iter().nth(number - 1)?;
    Some(Page { next, ..page })
}

fn with_files(written: Vec<Written>) -> impl Iterator<Item = Vec<Output>> {
    written.into_iter().map(|written| written.outputs).filter(|outputs| !outputs.is_empty())
}

fn account(written: &[Written]) -> Tally {
    let mut account = Tally::default();
    for written in written {
        account += &written.tally;
    }
    account
}

#[cfg(test)]
mod tests {
    use shared::export::{Attempt, JobId, OutputKey, OutputKind, TaskNo};
    use shared::fhir::ResourceType;

    use super::*;

    /// A task that wrote one file, and one that wrote none; each counted one entry.
    fn written(tasks: &[Option<u32>]) -> Vec<Written> {
        let job = "00000000-0000-4000-8000-000000000000".parse::<JobId>().expect("it is written as a job id is");
        let output = |task| Output {
            key: OutputKey {
                job,
                resource_type: ResourceType::PATIENT,
                task: TaskNo(task),
                attempt: Attempt(1),
                number: 0,
            },
            kind: OutputKind::Output,
            lines: 1,
            bytes: 1,
            stored_bytes: 1,
            sha256: String::new(),
        };
        let tally = Tally { entries: 1, ..Tally::default() };
        tasks
            .iter()
            .map(|task| Written { outputs: task.iter().map(|task| output(*task)).collect(), tally: tally.clone() })
            .collect()
    }

    /// The tasks whose files a page holds, the next page, and the entries of its account.
    fn seen(page: Option<Page>) -> Option<(Vec<u32>, Option<usize>, Option<u64>)> {
        let page = page?;
        let tasks = page.outputs.iter().map(|output| output.key.task.0).collect();
        Some((tasks, page.next, page.account.map(|account| account.entries)))
    }

    #[test]
    fn a_running_job_has_a_page_for_each_task_that_left_files() {
        let tasks = [None, Some(7), None, Some(4)];
        for (number, expected) in
            [(1, Some((vec![7], Some(2), None))), (2, Some((vec![4], None, None))), (3, None), (usize::MAX, None)]
        {
            assert_eq!(seen(of_running(written(&tasks), number)), expected, "page {number}");
        }
        assert_eq!(of_running(written(&[None]), 1), None);
    }

    #[test]
    fn a_completed_job_ends_with_a_page_that_holds_the_account_alone() {
        let tasks = [Some(7), None, Some(4)];
        for (number, expected) in [
            (1, Some((vec![7], Some(2), None))),
            (2, Some((vec![4], Some(3), None))),
            (3, Some((vec![], None, Some(3)))),
            (4, None),
            (usize::MAX, None),
        ] {
            assert_eq!(seen(of_completed(written(&tasks), number, true)), expected, "page {number}");
        }
    }

    #[test]
    fn without_an_account_the_last_files_are_the_last_page_and_without_files_there_is_an_empty_one() {
        assert_eq!(seen(of_completed(written(&[Some(7)]), 1, false)), Some((vec![7], None, None)));
        assert_eq!(seen(of_completed(written(&[Some(7)]), 2, false)), None);
        assert_eq!(seen(of_completed(written(&[None]), 1, false)), Some((vec![], None, None)));
    }

    #[test]
    fn what_a_page_has_shown_does_not_change_as_the_job_goes_on() {
        let (before, after) = ([Some(7), Some(4)], [Some(7), Some(4), None, Some(2)]);
        for number in [1, 2] {
            let early = of_running(written(&before), number).expect("it is there");
            let late = of_completed(written(&after), number, true).expect("it is there still");
            assert_eq!((early.outputs, early.account), (late.outputs, late.account), "page {number}");
        }
    }

    #[test]
    fn in_one_piece_there_are_all_files_and_the_account() {
        assert_eq!(seen(Some(whole(written(&[Some(7), Some(4)]), true))), Some((vec![7, 4], None, Some(2))));
        assert_eq!(seen(Some(whole(written(&[Some(7)]), false))), Some((vec![7], None, None)));
    }

    #[test]
    fn a_page_is_a_number_from_one_on() {
        for (query, expected) in [
            ("", Some(1)),
            ("x=2", Some(1)),
            ("page=3", Some(3)),
            ("page=0", None),
            ("page=x", None),
            ("page=-1", None),
        ] {
            assert_eq!(number(query).ok(), expected, "{query}");
        }
    }
}
