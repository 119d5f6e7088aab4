package feed

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// Lines are what they were: programs read them.
func TestLinesStay(t *testing.T) {
	was := &mvccpb.KeyValue{Key: []byte("a"), Value: []byte("\xff\x00"), CreateRevision: 2, ModRevision: 3, Version: 2,
		Lease: math.MaxInt64}
	for _, test := range []struct {
		it   Item
		want string
	}{
		{Item{Kind: Began, Cluster: 42, Revision: 7, Token: "T"},
			`{"type":"begin","cluster":"2a","revision":"7","token":"T"}`},
		{Item{Kind: Resolved, Revision: 8, Token: "T"}, `{"type":"resolved","revision":"8","token":"T"}`},
		{Item{Kind: Changed, Revision: 1<<53 + 1, Token: "T", Events: []*mvccpb.Event{
			{Kv: &mvccpb.KeyValue{Key: []byte("a"), Value: []byte("<é\n>\u2028"), CreateRevision: 2, ModRevision: 9,
				Version: 3, Lease: 7}, PrevKv: was},
			{Kv: &mvccpb.KeyValue{Key: []byte("\xfe"), CreateRevision: 9, ModRevision: 9, Version: 1}},
			{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("c"), ModRevision: 9}},
			{Type: mvccpb.Event_DELETE, Kv: &mvccpb.KeyValue{Key: []byte("\x80"), ModRevision: 9}, PrevKv: was},
		}},
			`{"type":"put","revision":"9007199254740993","change":1,"changes":4,"key":"a",` +
				`"value":"<é\n>\u2028","createRevision":"2","version":"3","lease":"7",` +
				`"previous":{"valueBase64":"/wA=","createRevision":"2","modRevision":"3","version":"2",` +
				`"lease":"9223372036854775807"}}` + "\n" +
				`{"type":"put","revision":"9007199254740993","change":2,"changes":4,"keyBase64":"/g==","value":"",` +
				`"createRevision":"9","version":"1"}` + "\n" +
				`{"type":"delete","revision":"9007199254740993","change":3,"changes":4,"key":"c"}` + "\n" +
				`{"type":"delete","revision":"9007199254740993","change":4,"changes":4,"keyBase64":"gA==",` +
				`"previous":{"valueBase64":"/wA=","createRevision":"2","modRevision":"3","version":"2",` +
				`"lease":"9223372036854775807"},"token":"T"}`},
		{Item{Kind: Copying, Cluster: 42, Revision: 8}, `{"type":"copy","cluster":"2a","revision":"8"}`},
		{Item{Kind: Keys, Revision: 8, Keys: []*mvccpb.KeyValue{was, {Key: []byte("b"), CreateRevision: 4,
			ModRevision: 4, Version: 1}}},
			`{"type":"key","revision":"8","key":"a","valueBase64":"/wA=","createRevision":"2","modRevision":"3",` +
				`"version":"2","lease":"9223372036854775807"}` + "\n" +
				`{"type":"key","revision":"8","key":"b","value":"","createRevision":"4","modRevision":"4",` +
				`"version":"1"}`},
		{Item{Kind: Copied, Revision: 8, Token: "T"}, `{"type":"copied","revision":"8","keys":0,"token":"T"}`},
		{Item{Kind: Copied, Revision: 8, Count: 2, Token: "T"},
			`{"type":"copied","revision":"8","keys":2,"token":"T"}`},
		{Item{Kind: Void, After: 8, Revision: 1 << 60, Given: true, Token: "T"},
			`{"type":"void","revision":"1152921504606846976","after":"8","given":true,"token":"T"}`},
		{Item{Kind: Void, After: 8, Revision: 9}, `{"type":"void","revision":"9","after":"8","given":false}`},
	} {
		got, err := AppendLines([]byte("before\n"), &test.it)
		if err != nil || string(got) != "before\n"+test.want+"\n" {
			t.Errorf("%v\n%swant\n%s", err, got, test.want)
		}
	}
}

// Whatever the bytes are, they are on a line that is read back as what they were, by the name that says how.
func FuzzLine(f *testing.F) {
	f.Add([]byte("a"), []byte("b"))
	f.Add([]byte("\xff"), []byte{})
	f.Add([]byte("\ufffd\u2028\x00\"\\\n"), []byte("\xed\xa0\x80"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		it := Item{Kind: Changed, Revision: 2, Events: []*mvccpb.Event{{Kv: &mvccpb.KeyValue{Key: key, Value: value}}}}
		text, err := AppendLines(nil, &it)
		if err != nil {
			t.Fatal(err)
		}
		var l map[string]any
		if err := json.Unmarshal(text, &l); err != nil || strings.Count(string(text), "\n") != 1 {
			t.Fatalf("%q: %v", text, err)
		}
		for name, want := range map[string][]byte{"key": key, "value": value} {
			plain, is := l[name].(string)
			if coded, both := l[name+"Base64"].(string); both {
				got, err := base64.StdEncoding.DecodeString(coded)
				if err != nil || is {
					t.Fatalf("%q: %v", text, err)
				}
				plain = string(got)
			} else if !is {
				t.Fatalf("%q has no %s", text, name)
			}
			if plain != string(want) {
				t.Errorf("%q: %s is %q, want %q", text, name, plain, want)
			}
		}
	})
}
