// Package crash kills the program on its way from usage to the marketplaces'
// books, at named points and at any moment, and checks what is left.
//
// The program runs in a process of its own, which is killed for good: a test
// binary that is started again as the victim. Its store, of either kind, and
// its meters are the real ones, wrapped so that they die at the points. The
// marketplaces are the simulators; they and the clock outlive the victim, and
// so does the server of a database. The program's own code knows nothing of all
// this.
package crash
