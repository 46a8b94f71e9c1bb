package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/firnlog/firn/tier/topic"
)

type topicCmd struct {
	Create   topicCreateCmd   `cmd:"" help:"Create a topic." uses:"bootstrap,output"`
	List     topicListCmd     `cmd:"" help:"List the topics." uses:"bootstrap,output"`
	Describe topicDescribeCmd `cmd:"" help:"Show a topic's partitions, offsets and settings." uses:"bootstrap,output"`
	Delete   topicDeleteCmd   `cmd:"" help:"Delete topics; their archive is kept for a while (archive.delete-delay of the broker)." uses:"bootstrap,output"`
}

type topicCreateCmd struct {
	Topic       string            `arg:"" help:"Name of the topic."`
	Partitions  int32             `help:"Number of partitions; -1 takes the broker's default." default:"-1" short:"p"`
	Replication int16             `help:"Replication factor; -1 takes the broker's default." default:"-1"`
	Config      map[string]string `help:"Topic settings, as key=value; repeat for more." short:"c" mapsep:"none" placeholder:"KEY=VALUE"`
	DryRun      bool              `help:"Only check whether the topic could be created."`
}

func (t *topicCreateCmd) Run(c *cli) error {
	ctx, adm, done, err := c.session()
	if err != nil {
		return err
	}
	defer done()
	configs := make(map[string]*string, len(t.Config))
	for k, v := range t.Config {
		configs[k] = &v
	}
	create := adm.CreateTopics
	if t.DryRun {
		create = adm.ValidateCreateTopics
	}
	answers, err := create(ctx, t.Partitions, t.Replication, configs, t.Topic)
	if err != nil {
		return err
	}
	a := answers[t.Topic]
	if a.Err != nil {
		return kafkaError("create "+t.Topic, a.Err, a.ErrMessage)
	}
	if c.Output == outputJSON {
		return printJSON(os.Stdout, map[string]any{"topic": t.Topic, "id": topicID(a.ID), "partitions": a.NumPartitions, "replicationFactor": a.ReplicationFactor})
	}
	verb := "created"
	if t.DryRun {
		verb = "could be created"
	}
	fmt.Printf("%s %s with %d partition(s)\n", t.Topic, verb, a.NumPartitions)
	return nil
}

type topicListCmd struct {
	Internal bool `help:"List internal topics too."`
}

func (t *topicListCmd) Run(c *cli) error {
	ctx, adm, done, err := c.session()
	if err != nil {
		return err
	}
	defer done()
	list := adm.ListTopics
	if t.Internal {
		list = adm.ListTopicsWithInternal
	}
	topics, err := list(ctx)
	if err != nil {
		return err
	}
	type row struct {
		Topic      string `json:"topic"`
		ID         string `json:"id"`
		Partitions int    `json:"partitions"`
	}
	rows := make([]row, 0, len(topics))
	for _, d := range topics.Sorted() {
		rows = append(rows, row{d.Topic, topicID(d.ID), len(d.Partitions)})
	}
	return printRows(c, rows, table.Row{"topic", "partitions", "id"}, func(r row) table.Row {
		return table.Row{r.Topic, r.Partitions, r.ID}
	})
}

type topicDescribeCmd struct {
	Topic string `arg:"" help:"Name of the topic."`
	All   bool   `help:"Show every setting, not only those that were set."`
}

type partitionRow struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"`
	Epoch     int32   `json:"leaderEpoch"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
	Start     int64   `json:"startOffset"`
	End       int64   `json:"endOffset"`
}

type configRow struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

func (t *topicDescribeCmd) Run(c *cli) error {
	ctx, adm, done, err := c.session()
	if err != nil {
		return err
	}
	defer done()
	topics, err := adm.ListTopics(ctx, t.Topic)
	if err != nil {
		return err
	}
	d := topics[t.Topic]
	if d.Err != nil {
		return kafkaError("describe "+t.Topic, d.Err, "")
	}
	starts, err := adm.ListStartOffsets(ctx, t.Topic)
	if err != nil {
		return err
	}
	ends, err := adm.ListEndOffsets(ctx, t.Topic)
	if err != nil {
		return err
	}
	parts := make([]partitionRow, 0, len(d.Partitions))
	for _, p := range d.Partitions.Sorted() {
		s, _ := starts.Lookup(t.Topic, p.Partition)
		e, _ := ends.Lookup(t.Topic, p.Partition)
		parts = append(parts, partitionRow{p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, s.Offset, e.Offset})
	}
	configs, err := describeConfigs(adm.DescribeTopicConfigs(ctx, t.Topic))
	if err != nil {
		return err
	}
	if !t.All {
		configs = onlySet(configs)
	}
	if c.Output == outputJSON {
		return printJSON(os.Stdout, map[string]any{"topic": t.Topic, "id": topicID(d.ID), "partitions": parts, "configs": configs})
	}
	fmt.Printf("%s  id %s\n", t.Topic, topicID(d.ID))
	rows := make([]table.Row, 0, len(parts))
	for _, p := range parts {
		rows = append(rows, table.Row{p.Partition, p.Leader, p.Epoch, joinInts(p.Replicas), joinInts(p.ISR), p.Start, p.End})
	}
	printTable(os.Stdout, table.Row{"partition", "leader", "epoch", "replicas", "isr", "start", "end"}, rows)
	if len(configs) == 0 {
		return nil
	}
	rows = rows[:0]
	for _, r := range configs {
		rows = append(rows, table.Row{r.Key, r.Value, r.Source})
	}
	printTable(os.Stdout, table.Row{"setting", "value", "source"}, rows)
	return nil
}

func describeConfigs(answers kadm.ResourceConfigs, err error) ([]configRow, error) {
	if err != nil {
		return nil, err
	}
	var rows []configRow
	for _, r := range answers {
		if r.Err != nil {
			return nil, kafkaError("describe the settings of "+r.Name, r.Err, r.ErrMessage)
		}
		for _, cfg := range r.Configs {
			rows = append(rows, configRow{cfg.Key, cfg.MaybeValue(), cfg.Source.String()})
		}
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].Key < rows[j].Key })
	return rows, nil
}

// onlySet keeps what somebody set, on the topic or on a broker.
func onlySet(rows []configRow) []configRow {
	kept := rows[:0:0]
	for _, r := range rows {
		if r.Source != "DEFAULT_CONFIG" {
			kept = append(kept, r)
		}
	}
	return kept
}

type topicDeleteCmd struct {
	Topics []string `arg:"" help:"Names of the topics."`
}

func (t *topicDeleteCmd) Run(c *cli) error {
	ctx, adm, done, err := c.session()
	if err != nil {
		return err
	}
	defer done()
	answers, err := adm.DeleteTopics(ctx, t.Topics...)
	if err != nil {
		return err
	}
	var failed []error
	deleted := []string{}
	for _, a := range answers.Sorted() {
		if a.Err != nil {
			failed = append(failed, kafkaError("delete "+a.Topic, a.Err, a.ErrMessage))
			continue
		}
		deleted = append(deleted, a.Topic)
	}
	return c.reportDeleted("", deleted, failed)
}

// topicID prints an id as Kafka's own tools do.
func topicID(id kadm.TopicID) string { return topic.ID(id).String() }

func joinInts(ns []int32) string {
	s := make([]string, len(ns))
	for i, n := range ns {
		s[i] = fmt.Sprint(n)
	}
	return strings.Join(s, ",")
}
