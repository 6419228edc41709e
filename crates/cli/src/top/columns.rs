//! The columns of the table: what each shows of a row, and how it sorts the rows.

use std::cmp::Ordering;

use sslsweep_figures::Word;

use super::rates::{Rates, rated};
use super::rows::{Row, Subject};
use crate::figures::{Limit, Place};
use crate::text::{duration, percent, short};

/// A column.
pub struct Column {
    /// Its heading.
    pub heading: &'static str,
    /// Its least width.
    pub width: u16,
    order: Order,
    /// Its text for a row with these rates.
    pub text: fn(&Row, Option<&Rates>) -> String,
}

/// The order in which a column sorts: names rise, figures fall.
enum Order {
    None,
    Subject,
    Program,
    Verdict,
    Figure(Word),
    Rate(fn(&Rates) -> f64),
}

const fn column(
    heading: &'static str,
    width: u16,
    order: Order,
    text: fn(&Row, Option<&Rates>) -> String,
) -> Column {
    Column { heading, width, order, text }
}

/// A column of a rate.
macro_rules! per_second {
    ($heading:literal, $word:ident) => {
        column($heading, 5, Order::Rate(|rates| rates.get(Word::$word)), |_, rates| {
            rated(rates, Word::$word)
        })
    };
}

/// Eighty columns of a terminal have room for all but the last three.
pub const COLUMNS: [Column; 14] = [
    column("PID", 7, Order::Subject, |row, _| match &row.subject {
        Subject::Process((pid, _), _) => pid.to_string(),
        Subject::Program(_, 1) => "1 proc".to_string(),
        Subject::Program(_, many) => format!("{many} procs"),
    }),
    column("PROGRAM", 8, Order::Program, |row, _| row.program.clone()),
    column("CTX", 5, Order::None, |row, _| match row.subject {
        Subject::Process(_, Place::Context(number)) => short(number),
        Subject::Process(_, place) => place.to_string(),
        Subject::Program(..) => Place::All.to_string(),
    }),
    column("HELD/SIZE", 9, Order::Figure(Word::Sessions), |row, _| {
        let limit = match row.limit {
            Limit::Most(most) => short(most),
            other => other.to_string(),
        };
        format!("{}/{limit}", short(row.block.get(Word::Sessions)))
    }),
    per_second!("STO/s", Stores),
    per_second!("HIT/s", Hits),
    column("HIT%", 4, Order::Rate(|rates| rates.hit_rate().unwrap_or(-1.0)), |_, rates| {
        percent(rates.and_then(Rates::hit_rate))
    }),
    per_second!("EVI/s", Evictions),
    per_second!("FLU/s", Flushed),
    column("LOCK", 5, Order::Figure(Word::LongestBatch), |row, _| {
        duration(row.block.get(Word::LongestBatch))
    }),
    column("STATE", 9, Order::Verdict, |row, _| row.verdict.word().to_string()),
    per_second!("MIS/s", Misses),
    column("LAST", 5, Order::None, |row, _| short(row.block.get(Word::LastRemoved))),
    column("TOOK", 5, Order::None, |row, _| duration(row.block.get(Word::LastTook))),
];

/// The columns by which rows can be sorted.
pub fn sorting() -> impl Iterator<Item = &'static Column> {
    COLUMNS.iter().filter(|column| !matches!(column.order, Order::None))
}

impl Column {
    /// The order of two rows, by their rates in this window.
    pub fn compare(&self, one: &Row, other: &Row, window: usize) -> Ordering {
        let order = match self.order {
            Order::None | Order::Subject => Ordering::Equal,
            Order::Program => one.program.cmp(&other.program),
            Order::Verdict => one.verdict.cmp(&other.verdict),
            Order::Figure(word) => other.block.get(word).cmp(&one.block.get(word)),
            Order::Rate(rate) => {
                let of = |row: &Row| row.averages[window].as_ref().map_or(-1.0, rate);
                of(other).total_cmp(&of(one))
            }
        };
        order.then_with(|| one.subject.cmp(&other.subject))
    }
}
