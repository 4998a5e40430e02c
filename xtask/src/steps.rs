//! The steps of a task: each has a headline and a time, and a failed step does not stop the others.

use std::time::Instant;

/// The steps so far.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    failed: Vec<&'static str>,
}

impl Steps {
    /// Runs a step.
    pub(crate) fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<(), String>) {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = step();
        let seconds = start.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => println!("<== {name}: ok, {seconds:.1} s"),
            Err(reason) => {
                println!("<== {name}: failed, {seconds:.1} s: {reason}");
                self.failed.push(name);
            }
        }
    }

    /// The steps that failed.
    pub(crate) fn failed(&self) -> &[&'static str] {
        &self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_remembered() {
        let mut steps = Steps::default();
        steps.run("one", || Err("because".into()));
        steps.run("two", || Ok(()));
        assert_eq!(steps.failed(), ["one"]);
    }
}
