using System.Text.Json;

namespace Dmb.Tests.Support;

/// <summary>One of the messages that a test counts: whose it is, and its place among those of this publisher.</summary>
public readonly record struct Numbered(string Publisher, int Number)
{
    /// <summary>As data, sent to these rooms besides the default one.</summary>
    public string Data(params string[] rooms) => Data(0, rooms);

    /// <summary>As data with so many bytes more.</summary>
    public string Data(int padding, params string[] rooms)
    {
        var more = padding > 0 ? $",\"x\":\"{new string('x', padding)}\"" : "";
        var to = rooms.Length > 0 ? $",\"_in\":{JsonSerializer.Serialize(rooms)}" : "";
        return $"{{\"p\":\"{Publisher}\",\"n\":{Number}{more}{to}}}";
    }
}

/// <summary>A client of <c>/ws</c> that reads all the time and keeps what came, in its order.</summary>
public sealed class Listener : IAsyncDisposable
{
    private readonly TestClient _client;
    private readonly Lock _lock = new();
    private readonly List<Numbered> _received = [];
    private readonly HashSet<Numbered> _distinct = [];
    private readonly List<string> _told = [];
    private readonly Task _reading;
    private TaskCompletionSource _changed = NewSignal();
    private string? _end;

    private Listener(NodeProcess node, string[] rooms, TestClient client)
    {
        (Node, Rooms, _client) = (node, rooms, client);
        _reading = ReadAsync();
    }

    public NodeProcess Node { get; }

    /// <summary>The rooms that it joined.</summary>
    public string[] Rooms { get; }

    /// <summary>The numbered messages that came, in their order.</summary>
    public Numbered[] Received
    {
        get
        {
            lock (_lock)
            {
                return [.. _received];
            }
        }
    }

    /// <summary>Everything else that came, in its order.</summary>
    public string[] Told
    {
        get
        {
            lock (_lock)
            {
                return [.. _told];
            }
        }
    }

    /// <summary>How its connection ended, or null while it lasts.</summary>
    public string? End => Volatile.Read(ref _end);

    public static async Task<Listener> JoinAsync(NodeProcess node, params string[] rooms) =>
        new(node, rooms, await node.JoinAsync(rooms));

    /// <summary>Waits until all of these came, and says whether they did.</summary>
    public Task<bool> HasAsync(IReadOnlyCollection<Numbered> messages) =>
        BecomesAsync(() => _distinct.Count >= messages.Count && messages.All(_distinct.Contains));

    /// <summary>Waits until the last that it was told of the backplane is this.</summary>
    public async Task BackplaneAsync(string state)
    {
        var frame = $$$"""{"event":"backplane","data":{"state":"{{{state}}}"}}""";
        Assert.True(
            await BecomesAsync(() => LastOfBackplane() == frame),
            $"Last told: {LastOfBackplane()}, not {state}; {End}\n{string.Join('\n', Node.Log)}"
        );
    }

    public override string ToString() => $"the listener at {Node.Url} in {string.Join(' ', Rooms)}";

    public async ValueTask DisposeAsync()
    {
        await _client.DisposeAsync();
        await _reading;
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private string? LastOfBackplane() =>
        _told.LastOrDefault(frame => frame.StartsWith("""{"event":"backplane",""", StringComparison.Ordinal));

    private async Task<bool> BecomesAsync(Func<bool> condition)
    {
        using var patience = new CancellationTokenSource(Support.Node.Patience);
        while (true)
        {
            Task changed;
            lock (_lock)
            {
                if (condition())
                {
                    return true;
                }

                if (_end is not null)
                {
                    return false;
                }

                changed = _changed.Task;
            }

            try
            {
                await changed.WaitAsync(patience.Token);
            }
            catch (OperationCanceledException)
            {
                return false;
            }
        }
    }

    private async Task ReadAsync()
    {
        while (_end is null)
        {
            string? frame = null;
            string? end = null;
            try
            {
                frame = await _client.NextAsync();
            }
            catch (Exception e)
            {
                end = e.Message;
            }

            lock (_lock)
            {
                if (frame is not null)
                {
                    Add(frame);
                }

                _end = end;
                _changed.SetResult();
                _changed = NewSignal();
            }
        }
    }

    private void Add(string frame)
    {
        var data = JsonElement.Parse(frame).TryGetProperty("data", out var found) ? found : default;
        if (data.ValueKind == JsonValueKind.Object && data.TryGetProperty("p", out var publisher))
        {
            var message = new Numbered(publisher.GetString()!, data.GetProperty("n").GetInt32());
            _received.Add(message);
            _distinct.Add(message);
        }
        else
        {
            _told.Add(frame);
        }
    }
}
