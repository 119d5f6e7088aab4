package browser

import "testing"

// streams has what /v3/watch answers be told by the test: streams[i].tell says a message, and fail breaks it; ended
// says that the page has ended it.
const streams = `(() => {
  window.streams = [];
  const ask = window.fetch;
  window.fetch = (path, options) => {
    if (path !== "/v3/watch") return ask(path, options);
    const one = { ended: false, asked: JSON.parse(options.body).create_request };
    const body = new ReadableStream({
      start(to) {
        one.tell = (result) => to.enqueue(new TextEncoder().encode(JSON.stringify({ result }) + "\n"));
        one.fail = () => to.error(new Error("gone"));
      },
      cancel() { one.ended = true; },
    });
    streams.push(one);
    return Promise.resolve(new Response(body));
  };
  return true;
})()`

// A watch of what is compacted, or of a history that was cut off, goes on by another stream, and ends the one before:
// a browser has few. That one broke is said as long as it is so.
func TestAWatchInTheConsoleGoesOn(t *testing.T) {
	b, f := started(t)
	v := keysAt(t, b, f, f.Region("us").Nodes[0], desktop)
	v.is(streams)
	v.click("#keys-watch")
	v.until("it is asked", func(*Seen) bool { return v.is(`streams.length === 1`) })
	v.is(`streams[0].tell({ header: { revision: "7" }, created: true }),
		streams[0].tell({ header: { revision: "9" }, canceled: true, compact_revision: "9" }), true`)
	v.until("it is asked anew", func(*Seen) bool { return v.is(`streams.length === 2`) })
	if !v.is(`streams[1].asked.start_revision === "9"`) {
		t.Error("it does not go on where it can")
	}
	v.until("the first stream is ended", func(*Seen) bool { return v.is(`streams[0].ended`) })
	v.is(`streams[1].tell({ header: { revision: "9" }, created: true }), streams[1].fail(), true`)
	v.shows("watch-state", "The stream broke")
	v.until("it is asked once more", func(*Seen) bool { return v.is(`streams.length === 3`) })
	v.is(`streams[2].tell({ header: { revision: "9" }, created: true }), true`)
	v.until("nothing is broken", func(*Seen) bool { return !v.says("watch-state", "broke") })
	if !v.says("watch-state", "What was before revision 9 cannot be told") {
		t.Error("what is lost is not said any more")
	}
}
