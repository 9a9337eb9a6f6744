package alibaba

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse("2006-01-02 15:04:05.999999999", text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Times are UTC; Beijing is eight hours ahead.
func TestPeriod(t *testing.T) {
	t.Parallel()
	nepal := time.FixedZone("Asia/Kathmandu", 5*60*60+45*60)
	for _, tc := range []struct {
		name     string
		window   window
		end, now string
		taken    []string
		start    string // "" for none
		deadline string
	}{
		// The last ten minutes of the usage, while the hour's window is open.
		{"AtOnce", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-21 16:00:00", nil,
			"2026-11-21 15:50:00", "2026-11-21 16:59:00"},
		{"Later", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-21 16:58:00", nil,
			"2026-11-21 15:50:00", "2026-11-21 16:59:00"},
		{"LastNanosecond", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-21 16:58:29.999999999", nil,
			"2026-11-21 15:50:00", "2026-11-21 16:59:00"},
		{"Closed", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-21 16:58:30", nil,
			"2026-11-21 16:00:00", "2026-11-21 17:59:00"},
		{"ClosedForASecond", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-21 16:58:31", nil,
			"2026-11-21 16:00:00", "2026-11-21 17:59:00"},
		{"EightHoursLater", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-22 00:00:00", nil,
			"2026-11-21 23:00:00", "2026-11-22 00:59:00"},
		{"EightHoursEarlier", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-21 08:00:00", nil,
			"2026-11-21 07:50:00", "2026-11-21 08:59:00"},
		{"NotOver", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-21 15:59:59.999999999", nil,
			"2026-11-21 15:40:00", "2026-11-21 16:59:00"},
		{"InAnHour", window{zone: beijing}, "2026-11-21 15:42:00", "2026-11-21 15:42:00", nil,
			"2026-11-21 15:30:00", "2026-11-21 16:59:00"},
		// An instance that ended: its hour is billed to the end, the next is not.
		{"HourOfTheEnd", window{zone: beijing}, "2026-11-21 15:02:00", "2026-11-21 15:10:00", nil,
			"2026-11-21 15:00:00", "2026-11-21 16:59:00"},
		{"HourBefore", window{zone: beijing}, "2026-11-21 15:02:00", "2026-11-21 15:09:59.999999999", nil,
			"2026-11-21 14:50:00", "2026-11-21 15:59:00"},

		{"Taken", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-21 16:05:00",
			[]string{"2026-11-21 15:50:00", "2026-11-21 15:40:00"}, "2026-11-21 15:30:00", "2026-11-21 16:59:00"},
		{"HourTaken", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-21 16:30:00", hourOf("2026-11-21 15"),
			"2026-11-21 16:00:00", "2026-11-21 17:59:00"},
		{"AllTaken", window{zone: beijing}, "2026-11-21 16:00:00", "2026-11-21 16:09:59", hourOf("2026-11-21 15"), "", ""},

		// Months are Beijing's.
		{"EndOfMonth", window{zone: beijing}, "2026-10-31 16:00:00", "2026-10-31 16:20:00", nil,
			"2026-10-31 15:50:00", "2026-10-31 16:59:00"},
		{"MonthClosed", window{zone: beijing}, "2026-10-31 16:00:00", "2026-10-31 17:00:00", nil,
			"2026-10-31 16:00:00", "2026-10-31 17:59:00"},
		{"FirstMinutesOfTheMonth", window{zone: beijing}, "2026-10-31 16:10:00", "2026-10-31 16:30:00",
			[]string{"2026-10-31 16:00:00"}, "2026-10-31 16:10:00", "2026-10-31 17:59:00"},
		{"MonthBeforeWhenTheNewIsTaken", window{zone: beijing}, "2026-10-31 16:10:00", "2026-10-31 16:19:00",
			[]string{"2026-10-31 16:00:00"}, "2026-10-31 15:50:00", "2026-10-31 16:59:00"},
		{"LeapDay", window{zone: beijing}, "2028-02-29 16:00:00", "2028-02-29 16:30:00", nil,
			"2028-02-29 15:50:00", "2028-02-29 16:59:00"},

		// Daily: until 01:59 Beijing time of the next day.
		{"Daily", window{beijing, true}, "2026-11-21 16:00:00", "2026-11-21 16:30:00", nil,
			"2026-11-21 15:50:00", "2026-11-21 17:59:00"},
		{"DailyLastNanosecond", window{beijing, true}, "2026-11-21 16:00:00", "2026-11-21 17:58:29.999999999", nil,
			"2026-11-21 15:50:00", "2026-11-21 17:59:00"},
		{"DailyClosed", window{beijing, true}, "2026-11-21 16:00:00", "2026-11-21 17:58:30", nil,
			"2026-11-21 16:00:00", "2026-11-22 17:59:00"},
		{"DailyOtherHour", window{beijing, true}, "2026-11-21 16:00:00", "2026-11-21 16:30:00", hourOf("2026-11-21 15"),
			"2026-11-21 14:50:00", "2026-11-21 17:59:00"},
		{"DailyMonthFirst", window{beijing, true}, "2026-10-31 16:20:00", "2026-10-31 17:30:00",
			[]string{"2026-10-31 16:10:00", "2026-10-31 16:00:00", "2026-10-31 16:20:00", "2026-10-31 16:30:00",
				"2026-10-31 16:40:00", "2026-10-31 16:50:00"}, "2026-10-31 17:00:00", "2026-11-01 17:59:00"},
		{"DailyLeapDay", window{beijing, true}, "2028-02-29 16:00:00", "2028-02-29 17:00:00", nil,
			"2028-02-29 15:50:00", "2028-02-29 17:59:00"},
		{"DailyNoLeapDay", window{beijing, true}, "2027-02-28 16:00:00", "2027-02-28 17:00:00", nil,
			"2027-02-28 15:50:00", "2027-02-28 17:59:00"},
		{"DailyEndOfYear", window{beijing, true}, "2026-12-31 16:00:00", "2026-12-31 17:00:00", nil,
			"2026-12-31 15:50:00", "2026-12-31 17:59:00"},

		// A zone whose hours are not UTC's: 21:45 to 22:45 there.
		{"Nepal", window{zone: nepal}, "2026-11-21 16:15:00", "2026-11-21 17:13:29", nil,
			"2026-11-21 16:05:00", "2026-11-21 17:14:00"},
		{"NepalClosed", window{zone: nepal}, "2026-11-21 16:15:00", "2026-11-21 17:13:30", nil,
			"2026-11-21 16:15:00", "2026-11-21 18:14:00"},
	} {
		taken := func(start time.Time) bool {
			for _, s := range tc.taken {
				if at(t, s).Equal(start) {
					return true
				}
			}
			return false
		}
		p, ok := tc.window.period(at(t, tc.end), at(t, tc.now), taken)
		if !ok && tc.start == "" {
			continue
		}
		if !ok || tc.start == "" || !p.Start.Equal(at(t, tc.start)) || !p.Deadline.Equal(at(t, tc.deadline)) ||
			p.End.Sub(p.Start) != slotWidth {
			t.Errorf("%s: Period(%s, %s) = %+v, %t, want %s until %s", tc.name, tc.end, tc.now, p, ok, tc.start, tc.deadline)
		}
	}
}

// hourOf lists the periods of an hour.
func hourOf(hour string) []string {
	var all []string
	for _, m := range []string{"00", "10", "20", "30", "40", "50"} {
		all = append(all, hour+":"+m+":00")
	}
	return all
}

// Whatever is asked: a period is free, over, within its window, more than five
// minutes wide, within one hour, on a grid on which none overlap, and the same
// when asked again.
func TestPeriodKeepsItsPromise(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := window{
			zone:  time.FixedZone("", rapid.IntRange(-12*4, 14*4).Draw(t, "quarters")*15*60),
			daily: rapid.Bool().Draw(t, "daily"),
		}
		now := time.Unix(rapid.Int64Range(1_790_000_000, 1_900_000_000).Draw(t, "now"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		end := now.Add(-time.Duration(rapid.Int64Range(-int64(time.Hour), int64(72*time.Hour)).Draw(t, "ago")))
		mask := rapid.Uint64().Draw(t, "taken")
		taken := func(start time.Time) bool { return mask>>(start.Unix()/600%64)&1 == 1 }
		p, ok := w.period(end, now, taken)
		if !ok {
			for start := w.slot(now).Add(-slotWidth); w.open(start, now); start = start.Add(-slotWidth) {
				if !taken(start) {
					t.Fatalf("Period() = none, want %s", start)
				}
			}
			return
		}
		last := p.Deadline.Add(-sendMargin)
		switch again, _ := w.period(end, now, taken); {
		case taken(p.Start), p.End.After(now), !now.Before(last), p.End.Sub(p.Start) <= minWidth, again != p,
			!w.hour(p.Start).Equal(w.hour(p.End.Add(-1))), !w.slot(p.Start).Equal(p.Start):
			t.Fatalf("Period(%s, %s) = %+v", end, now, p)
		}
	})
}
