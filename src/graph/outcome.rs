//! The outcomes of a stage that an edge can be taken on.

use super::event::StageStatus;

/// An outcome that an edge names in `on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It wrote its output, or was skipped.
    Succeeded,
    /// Its attempts failed.
    Failed,
    /// Its last attempt exceeded its timeout.
    TimedOut,
}

impl Outcome {
    /// Every outcome, in the order of their bits.
    pub const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::TimedOut];

    /// Gives the name in graph files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }

    /// Gives the outcome that a status counts as; `None` where the stage did not run to an end.
    #[must_use]
    pub const fn of(status: StageStatus) -> Option<Self> {
        match status {
            StageStatus::Succeeded | StageStatus::Skipped => Some(Self::Succeeded),
            StageStatus::Failed => Some(Self::Failed),
            StageStatus::TimedOut => Some(Self::TimedOut),
            StageStatus::Pending
            | StageStatus::Running
            | StageStatus::NotTaken
            | StageStatus::Waiting
            | StageStatus::Cancelled => None,
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Succeeded => 1,
            Self::Failed => 2,
            Self::TimedOut => 4,
        }
    }
}

/// A set of outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Outcomes(u8);

impl Outcomes {
    /// Only success: what an edge is taken on if it does not say.
    pub const SUCCEEDED: Self = Self(1);

    /// Gives the set with one more outcome.
    #[must_use]
    pub const fn with(self, outcome: Outcome) -> Self {
        Self(self.0 | outcome.bit())
    }

    /// Says whether an outcome is in the set.
    #[must_use]
    pub const fn has(self, outcome: Outcome) -> bool {
        self.0 & outcome.bit() != 0
    }

    /// Gives what is in one of the sets.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Gives what is in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Says whether everything in this set is in the other.
    #[must_use]
    pub const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Says whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Says whether a failure or a timeout is in the set.
    #[must_use]
    pub const fn has_failure(self) -> bool {
        self.0 & 6 != 0
    }

    /// Gives the outcomes by name.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Outcome::ALL
            .into_iter()
            .filter(move |outcome| self.has(*outcome))
            .map(Outcome::name)
    }
}
