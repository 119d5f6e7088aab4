package contract

import (
	"encoding/json"
	"testing"
)

// What is said of a lag comes through JSON: that it is a lower bound too, and never as a zero that nobody measured.
func TestALagComesThroughJSON(t *testing.T) {
	for _, c := range []struct {
		lag  Lag
		want string
	}{
		{Lag{}, `{"known":true,"commands":0,"bytes":0,"seconds":0}`},
		{Lag{Seconds: -1}, `{"known":false,"commands":null,"bytes":null,"seconds":-1}`},
		{Lag{Seconds: 46, AtLeast: true}, `{"known":true,"commands":null,"bytes":null,"seconds":46,"atLeast":true}`},
		{
			Lag{Commands: 73, Seconds: 46, AtLeast: true},
			`{"known":true,"commands":73,"bytes":null,"seconds":46,"atLeast":true}`,
		},
	} {
		text, err := json.Marshal(c.lag)
		if err != nil || string(text) != c.want {
			t.Errorf("%+v is %s (%v), want %s", c.lag, text, err, c.want)
		}
		var back Lag
		if err := json.Unmarshal(text, &back); err != nil || back != c.lag {
			t.Errorf("%s is read as %+v (%v)", text, back, err)
		}
	}
}
