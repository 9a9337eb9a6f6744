//go:build race

package alibabasim_test

// scale divides the number of records under the race detector, which makes
// each call ten times slower.
const scale = 10
