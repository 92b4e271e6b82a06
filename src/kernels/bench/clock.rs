//! Times of several ways to one thing, taken in turns.

use std::time::{Duration, Instant};

/// Calls are timed together until they take this long, so that the clock does not matter.
const SAMPLE: Duration = Duration::from_millis(20);

/// The median of this many samples is reported,
pub(super) const NUM_SAMPLES: usize = 7;

/// or of fewer, where they take so long that the problem would keep all others waiting.
const PATIENCE: Duration = Duration::from_secs(3);

/// Waits until the device has done what was queued, or says why it cannot.
pub(super) type Sync<'a> = &'a dyn Fn() -> Result<(), String>;

/// Something that is timed: how often it is called for a sample, and the samples of one call.
pub(super) struct Timer {
    step: Box<dyn FnMut()>,
    count: u32,
    samples: Vec<Duration>,
}

impl Timer {
    /// Finds out how many calls make a sample.
    pub(super) fn new(step: Box<dyn FnMut()>, sync: Sync<'_>) -> Result<Self, String> {
        let mut timer = Self {
            step,
            count: 1,
            samples: Vec::new(),
        };
        // What the first call sets up, none of the others pays for again.
        let mut sample = timer.sample(sync)?;
        loop {
            sample = match timer.count {
                1 => timer.sample(sync)?.min(sample),
                _ => timer.sample(sync)?,
            };
            if sample >= SAMPLE {
                timer.samples.push(sample / timer.count);
                return Ok(timer);
            }
            timer.count *= 2;
        }
    }

    fn sample(&mut self, sync: Sync<'_>) -> Result<Duration, String> {
        let start = Instant::now();
        (0..self.count).for_each(|_| (self.step)());
        sync()?;
        Ok(start.elapsed())
    }
}

/// Samples of each timer, one after the other, so that what slows the machine slows them all.
pub(super) fn take_turns(
    timers: Vec<Result<Timer, String>>,
    sync: Sync<'_>,
) -> Vec<Result<Vec<Duration>, String>> {
    let (start, patience) = (Instant::now(), PATIENCE * timers.len() as u32);
    let mut timers = timers;
    for _ in 1..NUM_SAMPLES {
        if start.elapsed() >= patience {
            break;
        }
        for timer in &mut timers {
            let sampled = match timer {
                Ok(ready) => ready.sample(sync).map(|sample| sample / ready.count),
                Err(_) => continue,
            };
            match (sampled, timer) {
                (Ok(sample), Ok(ready)) => ready.samples.push(sample),
                (Err(error), timer) => *timer = Err(error),
                (Ok(_), Err(_)) => {}
            }
        }
    }
    let samples = |timer: Result<Timer, String>| timer.map(|timer| timer.samples);
    timers.into_iter().map(samples).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: Sync<'static> = &|| Ok(());

    #[test]
    fn two_ways_are_timed_in_turns_and_the_slower_takes_longer() {
        let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let wait = |name, milliseconds| -> Box<dyn FnMut()> {
            let order = order.clone();
            Box::new(move || {
                order.borrow_mut().push(name);
                std::thread::sleep(Duration::from_millis(milliseconds));
            })
        };
        let timers = [wait("fast", 21), wait("slow", 43)].map(|step| Timer::new(step, DONE));
        order.borrow_mut().clear();
        let samples = take_turns(timers.into(), DONE);
        assert_eq!(order.borrow()[..4], ["fast", "slow", "fast", "slow"]);
        let [fast, slow] = [0, 1].map(|way| samples[way].clone().expect("it was timed"));
        assert_eq!([fast.len(), slow.len()], [NUM_SAMPLES; 2]);
        assert!(fast.iter().min() < slow.iter().min());
    }

    #[test]
    fn what_fails_fails_alone() {
        let broken = Err("no memory".to_string());
        let step: Box<dyn FnMut()> = Box::new(|| std::thread::sleep(Duration::from_millis(21)));
        let samples = take_turns(vec![broken, Timer::new(step, DONE)], DONE);
        assert_eq!(samples[0], Err("no memory".to_string()));
        assert!(samples[1].is_ok());
    }
}
