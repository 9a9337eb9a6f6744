// Package rating turns the samples of one workspace's day into the lines of
// its daily bill.
//
// Owns: the calculation. Does not own: prices (core/pricing), which samples
// belong to a day, who pays, and bills as they are stored.
//
// A Rater is compiled once from a price book and used for any number of
// workspaces and by any number of goroutines. Rating is a pure function of the
// book and the samples: neither their order nor how a number is written (1.0
// or 1) changes anything, so a sealed bill can be derived again byte for byte.
//
// Everything is exact up to one rounding a line, half-even, to the book's
// scale. Nearly all numbers there are fit 64 bits with products of 128; what
// does not is calculated again with fractions of any size, and what then does
// not fit a quantity or an amount is a fault of its samples, never a wrong
// number.
package rating
