package batch

import "testing"

func TestParseSchedule(t *testing.T) {
	for text, want := range map[string]string{
		"* * * * *":                  "",
		"*/15 0-23/2 1,15 ? MON-fri": "",
		"@hourly":                    "",
		"@every 1h30m":               "",
		"@sometimes":                 "unrecognized descriptor: @sometimes",
		"* * * *":                    `expected exactly 5 fields, found 4: ["*" "*" "*" "*"]`,
		"60 * * * *":                 "end of range (60) above maximum (59): 60",
		"* * 0 * *":                  "beginning of range (0) below minimum (1): 0",
		"* * * dec-jan *":            "beginning of range (12) beyond end of range (1): dec-jan",
		"*/0 * * * *":                "step of range should be a positive number: */0",
		"x * * * *":                  `failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax`,
	} {
		got := ""
		if err := parseSchedule(text); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzParseSchedule(f *testing.F) {
	f.Add("*/5 * * * *")
	f.Add("@every")
	f.Fuzz(func(_ *testing.T, text string) { _ = parseSchedule(text) }) // must not panic
}
