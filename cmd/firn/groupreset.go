package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/twmb/franz-go/pkg/kadm"
)

type groupResetCmd struct {
	Group    string    `arg:"" help:"Name of the group; it must have no members."`
	Topic    []string  `help:"Only these topics; without, all that the group has offsets of." short:"t"`
	To       *position `help:"Where to: earliest, latest, an offset, or a time (RFC 3339)." xor:"target" placeholder:"POSITION"`
	ShiftBy  *int64    `help:"Move by so many records, back if negative (--shift-by=-100)." xor:"target" placeholder:"N"`
	FromFile string    `help:"Take the offsets from this CSV file (topic,partition,offset), as --export writes it." xor:"target" type:"existingfile"`
	Export   string    `help:"Write the new offsets to this CSV file too." type:"path"`
	Execute  bool      `help:"Do it. Without, only show what would change."`
}

type resetRow struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"` // -1: nothing was committed
	To        int64  `json:"to"`
}

func (g *groupResetCmd) Run(c *cli) error {
	if g.To == nil && g.ShiftBy == nil && g.FromFile == "" {
		return errors.New("say where to: one of --to, --shift-by and --from-file")
	}
	ctx, adm, done, err := c.session()
	if err != nil {
		return err
	}
	defer done()
	plan, err := g.plan(ctx, adm)
	if err != nil {
		return err
	}
	if g.Export != "" {
		if err := writeOffsets(g.Export, plan); err != nil {
			return err
		}
	}
	if g.Execute {
		if err := g.commit(ctx, adm, plan); err != nil {
			return err
		}
	}
	return g.print(c, plan)
}

// plan works out, for each partition, where its offset is and where it goes: never outside of the log.
func (g *groupResetCmd) plan(ctx context.Context, adm *kadm.Client) ([]resetRow, error) {
	fetched, err := adm.FetchOffsets(ctx, g.Group)
	if err != nil {
		return nil, kafkaError("read the offsets of group "+g.Group, err, "")
	}
	committed := fetched.Offsets()
	targets, err := g.targets(ctx, adm, committed)
	if err != nil {
		return nil, err
	}
	topics := slices.Sorted(maps.Keys(targets))
	if len(topics) == 0 {
		return nil, fmt.Errorf("group %s has no offsets to move: name the topics with --topic", g.Group)
	}
	starts, err := adm.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("look up where the logs begin: %w", err)
	}
	ends, err := adm.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("look up where the logs end: %w", err)
	}
	var rows []resetRow
	for _, o := range targets.Sorted() {
		start, ok1 := starts.Lookup(o.Topic, o.Partition)
		end, ok2 := ends.Lookup(o.Topic, o.Partition)
		if !ok1 || !ok2 || start.Err != nil || end.Err != nil {
			return nil, fmt.Errorf("partition %s-%d does not exist, or nobody leads it (firn topic describe %s)", o.Topic, o.Partition, o.Topic)
		}
		row := resetRow{Topic: o.Topic, Partition: o.Partition, From: -1, To: min(max(o.At, start.Offset), end.Offset)}
		if was, ok := committed.Lookup(o.Topic, o.Partition); ok {
			row.From = was.At
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// targets gives the offsets asked for, before they are held against the logs.
func (g *groupResetCmd) targets(ctx context.Context, adm *kadm.Client, committed kadm.Offsets) (kadm.Offsets, error) {
	if g.FromFile != "" {
		return readOffsets(g.FromFile)
	}
	targets := kadm.Offsets{}
	if g.ShiftBy != nil {
		committed.Each(func(o kadm.Offset) {
			if g.wants(o.Topic) {
				targets.Add(kadm.Offset{Topic: o.Topic, Partition: o.Partition, At: o.At + *g.ShiftBy, LeaderEpoch: -1})
			}
		})
		return targets, nil
	}
	topics := g.Topic
	if len(topics) == 0 {
		for topic := range committed {
			topics = append(topics, topic)
		}
	}
	for _, topic := range topics {
		offsets, err := g.To.resolve(ctx, adm, topic, nil)
		if err != nil {
			return nil, err
		}
		for p, at := range offsets {
			targets.Add(kadm.Offset{Topic: topic, Partition: p, At: at, LeaderEpoch: -1})
		}
	}
	return targets, nil
}

func (g *groupResetCmd) wants(topic string) bool {
	return len(g.Topic) == 0 || slices.Contains(g.Topic, topic)
}

func (g *groupResetCmd) commit(ctx context.Context, adm *kadm.Client, plan []resetRow) error {
	described, err := adm.DescribeGroups(ctx, g.Group)
	if err != nil {
		return kafkaError("describe group "+g.Group, err, "")
	}
	if n := len(described[g.Group].Members); n > 0 {
		return fmt.Errorf("group %s has %d member(s): stop them first, or they go on where they are (firn group describe %s --members)", g.Group, n, g.Group)
	}
	offsets := kadm.Offsets{}
	for _, r := range plan {
		offsets.Add(kadm.Offset{Topic: r.Topic, Partition: r.Partition, At: r.To, LeaderEpoch: -1})
	}
	answers, err := adm.CommitOffsets(ctx, g.Group, offsets)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return kafkaError("commit offsets of group "+g.Group, err, "")
	}
	return nil
}

func (g *groupResetCmd) print(c *cli, plan []resetRow) error {
	if c.Output == outputJSON {
		return printJSON(os.Stdout, map[string]any{"group": g.Group, "executed": g.Execute, "offsets": plan})
	}
	rows := make([]table.Row, 0, len(plan))
	for _, r := range plan {
		rows = append(rows, table.Row{r.Topic, r.Partition, orDash(r.From), r.To})
	}
	printTable(os.Stdout, table.Row{"topic", "partition", "from", "to"}, rows)
	if !g.Execute {
		fmt.Println("Nothing was changed; add --execute to do it.")
	}
	return nil
}

func writeOffsets(name string, plan []resetRow) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	for _, r := range plan {
		if err := w.Write([]string{r.Topic, strconv.Itoa(int(r.Partition)), strconv.FormatInt(r.To, 10)}); err != nil {
			break // Error below tells
		}
	}
	w.Flush()
	return errors.Join(w.Error(), f.Close())
}

func readOffsets(name string) (kadm.Offsets, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	r := csv.NewReader(f)
	r.FieldsPerRecord = 3
	lines, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: want lines of topic,partition,offset: %w", name, err)
	}
	offsets := kadm.Offsets{}
	for i, l := range lines {
		p, err1 := strconv.ParseInt(l[1], 10, 32)
		at, err2 := strconv.ParseInt(l[2], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("%s, line %d: want topic,partition,offset: %w", name, i+1, err)
		}
		offsets.Add(kadm.Offset{Topic: l[0], Partition: int32(p), At: at, LeaderEpoch: -1})
	}
	return offsets, nil
}
