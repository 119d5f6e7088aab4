package succession

import (
	"fmt"

	"github.com/mimir-kv/mimir/replication/timeline"
)

func describeControl(c *timeline.Control) string {
	switch c.Op {
	case timeline.OpSeal:
		return fmt.Sprintf("seal for %s, handoff %d", c.To, c.Handoff)
	case timeline.OpUnseal:
		return fmt.Sprintf("unseal, handoff %d", c.Handoff)
	case timeline.OpRefuse:
		return fmt.Sprintf("refuse, handoff %d of epoch %d", c.Handoff, c.Epoch)
	case timeline.OpYield:
		return fmt.Sprintf("yield to epoch %d of %s", c.Claim.Epoch, c.Claim.Primary)
	case timeline.OpDiverge:
		return fmt.Sprintf("diverge, tail (%d, %d]", c.Fork, c.At)
	case timeline.OpKeep:
		return fmt.Sprintf("keep what it has up to %d", c.At)
	case timeline.OpCut:
		return fmt.Sprintf("cut, tail (%d, %d]", c.Origin.Cursor.Position, c.At)
	case timeline.OpInstall:
		return "install " + c.Checkpoint
	default:
		return string(c.Op)
	}
}

func describeReign(r timeline.Reign) string {
	text := fmt.Sprintf("epoch %d of %s at %d", r.Epoch, r.Primary, r.First)
	if r.Handoff != 0 {
		text += fmt.Sprintf(" by handoff %d", r.Handoff)
	}
	if r.Lossy {
		text += " by force"
	}
	return text
}

func describeAnswer(a Answered) string {
	what := fmt.Sprintf("handoff %d of epoch %d: ", a.Handover.Handoff, a.Handover.Epoch)
	switch {
	case a.Begun != nil:
		return what + "begun, " + describeReign(*a.Begun)
	case a.Refused:
		return what + "refused for good"
	default:
		return what + a.Err.Error()
	}
}

func describeReply(r Reply) string {
	switch {
	case r.Err != nil:
		return r.Err.Error()
	case r.Reign == nil:
		return "taken back, and writes go on"
	case r.Reign.Lossy:
		return "took over, " + describeReign(*r.Reign)
	default:
		return fmt.Sprintf("moved, %s, after a pause of %v", describeReign(*r.Reign), r.Pause)
	}
}

func describeState(s *timeline.State) string {
	text := fmt.Sprintf("%s is %s, epoch %d, position %d", s.Region, s.Role(), s.Cursor.Epoch, s.Cursor.Position)
	if s.Writable() {
		text += ", takes writes"
	}
	if s.Seal != nil {
		text += fmt.Sprintf(", sealed for %s by handoff %d", s.Seal.To, s.Seal.Handoff)
	}
	if s.Refused.Handoff != 0 {
		text += fmt.Sprintf(", refused handoff %d of epoch %d", s.Refused.Handoff, s.Refused.Epoch)
	}
	if s.Yielded.Epoch > s.Cursor.Epoch {
		text += fmt.Sprintf(", yielded to epoch %d of %s", s.Yielded.Epoch, s.Yielded.Primary)
	}
	return text
}

func describeStreamed(e any) string {
	if f, ok := e.(timeline.Frame); ok {
		return fmt.Sprintf("streamed %d to %d of epoch %d", f.First, f.Last(), f.Epoch)
	}
	return "streamed " + describeReign(e.(timeline.Reign))
}
