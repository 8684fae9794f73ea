using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>
/// Streams all sessions of the cluster, the newest first, as lines of JSON; the last line has the missing nodes. Each
/// node is asked for some thousand sessions at a time, so that it passes over its sessions a few times only, and the
/// memory of a stream is bounded.
/// </summary>
internal sealed class SessionStream(ICluster cluster, SessionQuery filter) : IResult
{
    /// <summary>The media type of lines of JSON.</summary>
    public const string MediaType = "application/x-ndjson";

    /// <summary>Lines asked of each node at first, when the number of nodes is not known.</summary>
    private const int FirstLines = 500;

    /// <summary>Maximum lines held, of all nodes together.</summary>
    private const int LinesMax = 12_000;

    private readonly Dictionary<string, NodeLines> _nodes = [];
    private readonly SortedSet<string> _missing = new(StringComparer.Ordinal);

    public async Task ExecuteAsync(HttpContext httpContext)
    {
        httpContext.Response.ContentType = MediaType;
        await AskFirstAsync();

        // The writer has no memory before.
        await httpContext.Response.StartAsync(httpContext.RequestAborted);
        var body = httpContext.Response.BodyWriter;
        for (var isMore = true; isMore; )
        {
            isMore = Merge(body);
            if ((await body.FlushAsync(httpContext.RequestAborted)).IsCompleted)
            {
                return;
            }

            if (isMore)
            {
                await AskAsync();
            }
        }

        body.Write(JsonSerializer.SerializeToUtf8Bytes(new MissingLine(_missing), ApiJson.Wire.MissingLine));
        body.Write("\n"u8);
        await body.FlushAsync(httpContext.RequestAborted);
    }

    private async Task AskFirstAsync()
    {
        var asked = await AskAsync(null);
        foreach (var (name, lines) in asked.Answers.Select(SessionLines.Read))
        {
            var node = _nodes[name] = new NodeLines();
            node.Add(lines, FirstLines);
        }

        _missing.UnionWith(asked.Missing);
    }

    /// <summary>Asks those nodes that have more for as many lines as there is room for.</summary>
    private async Task AskAsync()
    {
        var limit = Math.Max(1, LinesMax / _nodes.Count);
        var wanted = _nodes
            .Where(node => node.Value.HasMore && node.Value.Lines.Count < limit)
            .ToDictionary(
                node => node.Key,
                node => new LinesFrom(node.Value.Last!.Value.ToString(), limit - node.Value.Lines.Count)
            );
        foreach (var (name, lines) in (await AskAsync(wanted)).Answers.Select(SessionLines.Read))
        {
            if (wanted.Remove(name, out var from))
            {
                _nodes[name].Add(lines, from.Limit);
            }
        }

        foreach (var silent in wanted.Keys)
        {
            _nodes[silent].HasMore = false;
            _missing.Add(silent);
        }
    }

    private Task<ClusterAnswers> AskAsync(IReadOnlyDictionary<string, LinesFrom>? nodes) =>
        cluster.AskAsync(
            NodeAnswers.Lines,
            JsonSerializer.Serialize(
                new SessionLinesQuery(filter with { Limit = FirstLines, After = null }, nodes),
                ApiJson.Wire.SessionLinesQuery
            )
        );

    /// <summary>Writes lines until a node has to be asked for its next one; false at the end.</summary>
    private bool Merge(PipeWriter body)
    {
        var heads = new PriorityQueue<NodeLines, SessionKey>(SessionKey.NewestFirst);
        heads.EnqueueRange(
            _nodes.Values.Where(node => node.Lines.Count > 0).Select(node => (node, node.Lines.Peek().Key))
        );
        if (_nodes.Values.Any(static node => node.Lines.Count == 0 && node.HasMore))
        {
            return true;
        }

        while (heads.TryDequeue(out var node, out _))
        {
            body.Write(node.Lines.Dequeue().Json.Span);
            if (node.Lines.TryPeek(out var next))
            {
                heads.Enqueue(node, next.Key);
            }
            else if (node.HasMore)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>The lines of one node that are not written yet.</summary>
    private sealed class NodeLines
    {
        public Queue<(SessionKey Key, ReadOnlyMemory<byte> Json)> Lines { get; } = [];

        /// <summary>Whether the node can have more.</summary>
        public bool HasMore { get; set; }

        /// <summary>The last line that it answered with.</summary>
        public SessionKey? Last { get; private set; }

        /// <summary>Adds an answer to a question for so many lines.</summary>
        public void Add(Queue<(SessionKey Key, ReadOnlyMemory<byte> Json)> lines, int limit)
        {
            HasMore = lines.Count == limit;
            foreach (var line in lines)
            {
                Lines.Enqueue(line);
                Last = line.Key;
            }
        }
    }
}
