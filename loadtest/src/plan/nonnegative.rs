//! Least squares without negative coefficients (Lawson and Hanson, *Solving Least Squares Problems*, chapter 23), for the
//! few columns of a cost model. The optimum is the ordinary solution on those columns whose coefficients are positive, so
//! with five columns all 32 choices are tried: no iteration that could stop early or circle.

/// Coefficients, one for each column, that make `Σ (row · coefficients − value)²` least with none below 0.
///
/// Columns that are all zero, or a multiple of others, get 0: nothing in the rows tells them apart.
pub(super) fn solve<const N: usize>(rows: &[([f64; N], f64)]) -> [f64; N] {
    // Each column at the same size, so that one threshold tells which of them say the same.
    let sizes: [f64; N] =
        std::array::from_fn(|column| rows.iter().map(|(row, _)| row[column].powi(2)).sum::<f64>().sqrt());
    let scaled: Vec<([f64; N], f64)> = rows
        .iter()
        .map(|(row, value)| {
            (std::array::from_fn(|n| if sizes[n] > 0.0 { row[n] / sizes[n] } else { 0.0 }), *value)
        })
        .collect();
    let mut best = ([0.0; N], squares(&scaled, &[0.0; N]));
    let mut choices: Vec<u32> = (1..1 << N).collect();
    // Fewer columns first: another one has to explain something to be taken in.
    choices.sort_by_key(|choice| choice.count_ones());
    for choice in choices {
        let Some(found) = solve_on(&scaled, choice) else { continue };
        let rest = squares(&scaled, &found);
        if found.iter().all(|&coefficient| coefficient >= 0.0) && rest < best.1 * (1.0 - WORTH) {
            best = (found, rest);
        }
    }
    std::array::from_fn(|n| if sizes[n] > 0.0 { best.0[n] / sizes[n] } else { 0.0 })
}

fn squares<const N: usize>(rows: &[([f64; N], f64)], coefficients: &[f64; N]) -> f64 {
    let predicted = |row: &[f64; N]| row.iter().zip(coefficients).map(|(x, c)| x * c).sum::<f64>();
    rows.iter().map(|(row, value)| (predicted(row) - value).powi(2)).sum()
}

/// Ordinary least squares on the chosen columns, by the normal equations; none where they are not independent.
fn solve_on<const N: usize>(rows: &[([f64; N], f64)], choice: u32) -> Option<[f64; N]> {
    let chosen: Vec<usize> = (0..N).filter(|column| choice & (1 << column) != 0).collect();
    let mut matrix: Vec<Vec<f64>> = Vec::with_capacity(chosen.len());
    for &left in &chosen {
        let product = |right: usize| rows.iter().map(|(row, _)| row[left] * row[right]).sum::<f64>();
        let mut line: Vec<f64> = chosen.iter().map(|&right| product(right)).collect();
        line.push(rows.iter().map(|(row, value)| row[left] * value).sum());
        matrix.push(line);
    }
    eliminate(&mut matrix)?;
    let mut found = [0.0; N];
    for (line, &column) in matrix.iter().zip(&chosen) {
        found[column] = line[chosen.len()];
    }
    Some(found)
}

/// Gauss and Jordan, with pivots.
fn eliminate(matrix: &mut [Vec<f64>]) -> Option<()> {
    for step in 0..matrix.len() {
        let pivot =
            (step..matrix.len()).max_by(|&a, &b| matrix[a][step].abs().total_cmp(&matrix[b][step].abs()))?;
        if matrix[pivot][step].abs() < INDEPENDENT {
            return None;
        }
        matrix.swap(step, pivot);
        let divisor = matrix[step][step];
        matrix[step].iter_mut().for_each(|value| *value /= divisor);
        let line = matrix[step].clone();
        for (other, row) in matrix.iter_mut().enumerate() {
            let factor = row[step];
            if other != step && factor != 0.0 {
                row.iter_mut().zip(&line).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
    }
    Some(())
}

/// Of columns of size 1, whose products are cosines: closer than this they say the same within the noise of any run.
const INDEPENDENT: f64 = 1e-6;
/// By which share another column has to make the rest smaller.
const WORTH: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(of: impl Fn([f64; 3]) -> f64) -> Vec<([f64; 3], f64)> {
        (0..20_u32)
            .map(|n| [f64::from(n * 1_000), f64::from(n * n % 17), 20.0])
            .map(|row| (row, of(row)))
            .collect()
    }

    fn assert_near(found: [f64; 3], wanted: [f64; 3]) {
        let is_near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * b.abs().max(1e-3);
        assert!(found.iter().zip(&wanted).all(is_near), "{found:?} instead of {wanted:?}");
    }

    #[test]
    fn coefficients_that_made_the_values_are_found() {
        assert_near(solve(&rows(|[a, b, c]| 2e-3 * a + 5.0 * b + 0.1 * c)), [2e-3, 5.0, 0.1]);
    }

    #[test]
    fn what_would_be_negative_is_nothing_and_the_rest_fits_without_it() {
        let found = solve(&rows(|[a, b, _]| 2e-3 * a - 0.05 * b));
        assert_eq!(found[1], 0.0);
        assert!(
            found.iter().all(|&coefficient| coefficient >= 0.0) && (found[0] - 2e-3).abs() < 1e-4,
            "{found:?}"
        );
    }

    #[test]
    fn no_other_choice_without_negatives_is_better() {
        let rows = rows(|[a, b, c]| 1e-3 * a - 0.2 * b + 0.3 * c + (a * 7.7).sin());
        let found = solve(&rows);
        let least = squares(&rows, &found);
        for column in 0..3 {
            for change in [-1e-5, 1e-5] {
                let mut other = found;
                other[column] = (other[column] + change).max(0.0);
                assert!(squares(&rows, &other) >= least - 1e-9, "column {column}");
            }
        }
    }

    #[test]
    fn columns_that_say_the_same_or_nothing_do_not_upset_it() {
        let twice: Vec<([f64; 3], f64)> =
            (1..9).map(f64::from).map(|n| ([n, 2.0 * n, 0.0], 6.0 * n)).collect();
        let found = solve(&twice);
        assert!((found[0] + 2.0 * found[1] - 6.0).abs() < 1e-6 && found[2] == 0.0, "{found:?}");
        assert_eq!(solve::<3>(&[]), [0.0; 3]);
        assert_eq!(solve(&[([0.0; 3], 5.0)]), [0.0; 3]);
    }
}
