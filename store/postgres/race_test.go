//go:build race

package postgres_test

// raceEnabled says that the race detector, which makes everything slower, runs.
const raceEnabled = true
