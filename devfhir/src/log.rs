//! What was asked so far.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::lock;
use crate::question::Question;

/// A request, and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `GET`.
    pub method: String,
    /// `/fhir/Patient/a`, as it was sent.
    pub path: String,
    /// The parameters of the query, with the escapes undone.
    pub query: Vec<(String, String)>,
    /// The parameters of the body, if it was a form.
    pub form: Vec<(String, String)>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The header `Accept-Encoding`.
    pub accept_encoding: Option<String>,
    /// The status of the answer; none while there is no answer, which is for ever if the client has gone away before.
    pub status: Option<u16>,
}

/// The requests of one server. Clones share them.
#[derive(Clone, Default)]
pub struct Log(Arc<Inner>);

#[derive(Default)]
struct Inner {
    asked: Mutex<Vec<Asked>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

/// A request in progress. It is over when this is dropped.
pub struct Running {
    log: Log,
    at: usize,
}

impl Log {
    /// A request has come.
    pub fn begin(&self, question: &Question) -> Running {
        let running = self.0.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(running, Ordering::SeqCst);
        let mut asked = lock(&self.0.asked);
        asked.push(Asked {
            method: question.method.clone(),
            path: question.path.clone(),
            query: question.query.clone(),
            form: question.form.clone().unwrap_or_default(),
            authorization: question.authorization.clone(),
            accept_encoding: question.accept_encoding.clone(),
            status: None,
        });
        Running { log: self.clone(), at: asked.len() - 1 }
    }

    /// All of them, in the order in which they came.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.0.asked).clone()
    }

    /// The most that were in progress at the same time.
    pub fn most_at_once(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }
}

impl Running {
    /// It is answered with this status.
    pub fn answered(&self, status: u16) {
        if let Some(asked) = lock(&self.log.0.asked).get_mut(self.at) {
            asked.status = Some(status);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.log.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}
