using System.Collections.Concurrent;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;

namespace Dmb.Tests.Support;

/// <summary>What one publish was answered: status 0 when there was no answer at all.</summary>
public sealed record Answer(Numbered Message, NodeProcess Node, int Status, string Body, TimeSpan SentAt, TimeSpan Took)
{
    /// <summary>Whether the broker took it: then it must arrive.</summary>
    public bool IsTaken => Status is 200 or 202 && Body.Contains("\"ok\":true", StringComparison.Ordinal);

    /// <summary>Whether it came over <c>/ws</c>.</summary>
    public bool IsAck => Body.StartsWith("{\"ack\":", StringComparison.Ordinal);

    /// <summary>What a taken one lacks: <c>spooled</c>, <c>local</c>, or null.</summary>
    public string? Degraded =>
        Body.Contains("\"degraded\":", StringComparison.Ordinal)
            ? Body.Split("\"degraded\":\"")[1].Split('"')[0]
            : null;

    public override string ToString() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{Message.Publisher}:{Message.Number} at {SentAt.TotalSeconds:0.000} s: {Status} {Body} after "
                + $"{Took.TotalMilliseconds:0} ms"
        );
}

/// <summary>
/// Publishers that send numbered messages at a steady pace: over HTTP, each waiting for an answer before it sends the
/// next, and one over <c>/ws</c>, which waits for none. Every answer is kept.
/// </summary>
public sealed class Load : IAsyncDisposable
{
    private readonly long _start = TimeProvider.System.GetTimestamp();
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<Answer> _answers = new();
    private readonly ConcurrentQueue<string> _marks = new();
    private readonly int _padding;
    private readonly string[] _rooms;
    private readonly Task[] _publishers;
    private (int Count, TaskCompletionSource Reached)? _goal;
    private int _answered;

    private Load(IReadOnlyList<NodeProcess> nodes, int perSecond, int padding, string[] rooms)
    {
        (_padding, _rooms) = (padding, rooms);
        var pace = TimeSpan.FromSeconds((double)(nodes.Count + 1) / perSecond);
        _publishers =
        [
            .. nodes.Select((node, i) => PublishAsync(node, $"http{i}", pace)),
            SendAsync(nodes[0], "ws0", pace),
        ];
    }

    public Answer[] Answers => [.. _answers];

    /// <summary>Number of publishers.</summary>
    public int Publishers => _publishers.Length;

    /// <summary>What the test did, and when.</summary>
    public string[] Marks => [.. _marks];

    /// <summary>Starts one publisher over HTTP on each node, and one over <c>/ws</c> on the first.</summary>
    /// <param name="nodes">Where they publish.</param>
    /// <param name="perSecond">Messages a second, of all together.</param>
    /// <param name="padding">Bytes that each message has besides.</param>
    /// <param name="rooms">Where the messages go besides <c>calls</c>.</param>
    public static Load Start(IReadOnlyList<NodeProcess> nodes, int perSecond, int padding, params string[] rooms) =>
        new(nodes, perSecond, padding, rooms);

    /// <summary>Completes when so many more were answered.</summary>
    public Task MoreAsync(int answers)
    {
        var goal = (_answered + answers, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        _goal = goal;
        return goal.Item2.Task.WaitAsync(Node.Patience);
    }

    /// <summary>Goes on for a time of the real clock, for faults that are about time.</summary>
    public static Task GoOnAsync(TimeSpan time) => Task.Delay(time, TimeProvider.System);

    /// <summary>Notes what the test does now, for when it fails.</summary>
    public void Mark(string what) =>
        _marks.Enqueue(string.Create(CultureInfo.InvariantCulture, $"{Elapsed.TotalSeconds:0.000} s: {what}"));

    /// <summary>Publishes no more, and waits for the last answers.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_publishers);
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
    }

    private TimeSpan Elapsed => TimeProvider.System.GetElapsedTime(_start);

    private void Add(Answer answer)
    {
        _answers.Enqueue(answer);
        if (Interlocked.Increment(ref _answered) >= _goal?.Count)
        {
            _goal?.Reached.TrySetResult();
        }
    }

    private async Task PublishAsync(NodeProcess node, string publisher, TimeSpan pace)
    {
        using var timer = new PeriodicTimer(pace);
        for (var number = 0; await TickAsync(timer); number++)
        {
            var message = new Numbered(publisher, number);
            var sentAt = Elapsed;
            var (status, body) = (0, "");
            try
            {
                (status, body) = await node.PushAsync("call", message.Data(_padding, _rooms));
            }
            catch (Exception e) when (e is HttpRequestException or OperationCanceledException or SocketException)
            {
                // The last from a connection that is lost while HttpClient asks for its address.
                body = e.Message;
            }

            Add(new Answer(message, node, status, body, sentAt, Elapsed - sentAt));
        }
    }

    private async Task SendAsync(NodeProcess node, string publisher, TimeSpan pace)
    {
        var client = await node.ConnectAsync();
        var waiting = new ConcurrentDictionary<int, TimeSpan>();
        var all = new TaskCompletionSource();
        var sent = 0;
        var isLast = false;
        var reading = ReadAsync();

        using var timer = new PeriodicTimer(pace);
        while (await TickAsync(timer) && !reading.IsCompleted)
        {
            waiting[sent] = Elapsed;
            try
            {
                await client.SendAsync(
                    $$"""{"event":"call","data":{{new Numbered(publisher, sent).Data(_padding, _rooms)}},"ack":{{sent}}}"""
                );
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                break;
            }

            sent++;
        }

        Volatile.Write(ref isLast, true);
        if (!waiting.IsEmpty)
        {
            await Task.WhenAny(all.Task, reading);
        }

        await client.DisposeAsync();
        await reading;
        foreach (var (number, sentAt) in waiting)
        {
            Add(new Answer(new Numbered(publisher, number), node, 0, "no ack", sentAt, Elapsed - sentAt));
        }

        async Task ReadAsync()
        {
            try
            {
                while (true)
                {
                    var frame = await client.NextAsync();
                    if (
                        JsonElement.Parse(frame).TryGetProperty("ack", out var ack)
                        && waiting.TryRemove(ack.GetInt32(), out var sentAt)
                    )
                    {
                        var isTaken = frame.Contains("\"ok\":true", StringComparison.Ordinal);
                        Add(
                            new Answer(
                                new Numbered(publisher, ack.GetInt32()),
                                node,
                                isTaken ? 200 : 503,
                                frame,
                                sentAt,
                                Elapsed - sentAt
                            )
                        );
                    }

                    if (Volatile.Read(ref isLast) && waiting.IsEmpty)
                    {
                        all.TrySetResult();
                    }
                }
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException or TimeoutException)
            {
                // The end of the session.
            }
        }
    }

    private async ValueTask<bool> TickAsync(PeriodicTimer timer)
    {
        try
        {
            return await timer.WaitForNextTickAsync(_stop.Token);
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }
}
