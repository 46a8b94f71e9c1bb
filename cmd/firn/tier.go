package main

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	httpapi "github.com/firnlog/firn/broker/api/http"
)

type tierCmd struct {
	Status  tierStatusCmd  `cmd:"" help:"Show, per partition, what is hot, what is archived and how far the upload lags." uses:"admin,output"`
	Explain tierExplainCmd `cmd:"" help:"Say where an offset lives, and why it is not yet uploaded, trimmed or deleted." uses:"admin,output"`
}

type tierStatusCmd struct {
	Topic string `arg:"" optional:"" help:"Only this topic."`
}

func (t *tierStatusCmd) Run(c *cli) error {
	ctx, cancel := interruptible()
	defer cancel()
	path := "/v1/tiers"
	if t.Topic != "" {
		path += "/" + url.PathEscape(t.Topic)
	}
	var parts []httpapi.PartitionTiers
	if err := c.getJSON(ctx, path, &parts); err != nil {
		return err
	}
	header := table.Row{"topic", "partition", "hot offsets", "hot size", "cold offsets", "cold size", "lag records", "lag size", "lag age", "last error"}
	return printRows(c, parts, header, func(p httpapi.PartitionTiers) table.Row {
		cold := "off"
		if p.Remote || p.ColdEnd > p.ColdStart {
			cold = fmt.Sprintf("%d..%d", p.ColdStart, p.ColdEnd)
		}
		return table.Row{
			p.Topic, p.Partition,
			fmt.Sprintf("%d..%d", p.HotStart, p.HotEnd), humanBytes(p.HotBytes),
			cold, humanBytes(p.ColdBytes),
			p.LagRecords, humanBytes(p.LagBytes), time.Duration(p.LagSeconds * float64(time.Second)).Round(time.Second),
			p.LastError,
		}
	})
}

type tierExplainCmd struct {
	Topic     string `arg:"" help:"Name of the topic."`
	Partition int32  `arg:"" help:"Number of the partition."`
	Offset    *int64 `arg:"" optional:"" help:"The offset to explain; without it, the partition as a whole."`
}

func (t *tierExplainCmd) Run(c *cli) error {
	ctx, cancel := interruptible()
	defer cancel()
	path := fmt.Sprintf("/v1/tiers/%s/%d/explain", url.PathEscape(t.Topic), t.Partition)
	if t.Offset != nil {
		path += "?offset=" + strconv.FormatInt(*t.Offset, 10)
	}
	var e httpapi.Explanation
	if err := c.getJSON(ctx, path, &e); err != nil {
		return err
	}
	if c.Output == outputJSON {
		return printJSON(os.Stdout, e)
	}
	for _, s := range e.Sentences {
		fmt.Println(s)
	}
	return nil
}
