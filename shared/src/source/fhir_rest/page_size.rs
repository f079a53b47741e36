//! How many ids a request asks for: as many as the server bears. Halved when it takes too long or refuses so many, and grown
//! again slowly, since what was too much at noon may be well at night. Pure.

/// So many requests of the full size that went well make it grow,
const GOOD_RUN: u32 = 16;
/// by this part of itself.
const GROWTH: usize = 8;

/// The size for one server, as this process sees it.
#[derive(Clone, Copy, Debug)]
pub struct PageSize {
    now: usize,
    most: usize,
    good: u32,
}

impl PageSize {
    /// Begins with the most that it may be.
    pub fn new(most: usize) -> Self {
        Self { now: most.max(1), most: most.max(1), good: 0 }
    }

    /// How many.
    pub fn now(&self) -> usize {
        self.now
    }

    /// A request for so many was too much. What was asked for when the size was another says nothing more.
    pub fn too_much(&mut self, asked: usize) {
        self.good = 0;
        self.now = self.now.min((asked / 2).max(1));
    }

    /// A request for so many went well.
    pub fn well(&mut self, asked: usize) {
        if asked < self.now || self.now == self.most {
            return;
        }
        self.good += 1;
        if self.good == GOOD_RUN {
            self.good = 0;
            self.now = (self.now + (self.now / GROWTH).max(1)).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_halved_down_to_one_and_no_further() {
        let mut size = PageSize::new(200);
        let mut seen = Vec::new();
        for _ in 0..9 {
            size.too_much(size.now());
            seen.push(size.now());
        }
        assert_eq!(seen, [100, 50, 25, 12, 6, 3, 1, 1, 1]);
    }

    #[test]
    fn many_that_were_too_much_at_once_halve_it_once() {
        let mut size = PageSize::new(200);
        for _ in 0..8 {
            size.too_much(200);
        }
        assert_eq!(size.now(), 100);
    }

    #[test]
    fn it_grows_again_after_a_run_that_went_well_and_never_beyond_the_most() {
        let mut size = PageSize::new(100);
        size.too_much(100);
        for _ in 1..GOOD_RUN {
            size.well(50);
        }
        size.well(7);
        assert_eq!(size.now(), 50, "a smaller request says nothing of the full size");
        size.well(50);
        assert_eq!(size.now(), 56);
        for _ in 0..1_000 {
            size.well(size.now());
        }
        assert_eq!(size.now(), 100);
    }
}
