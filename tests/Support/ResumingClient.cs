using System.Collections.Concurrent;
using System.Text.Json;
using Dmb.Tests.History;

namespace Dmb.Tests.Support;

/// <summary>
/// A client of one room that comes and goes at random, from node to node, and resumes as clients/js does. What
/// it does depends on its seed, not when the machine gets to it.
/// </summary>
public sealed class ResumingClient
{
    private const int MessagesMax = 400;
    private const int AwayMaxMs = 900;

    private readonly Random _random;
    private readonly string _room;
    private readonly ConcurrentDictionary<NodeProcess, bool> _nodes;
    private readonly int _publishers;
    private readonly HashSet<string> _heard = [];
    private readonly HashSet<string> _ids = [];
    private readonly TaskCompletionSource _placed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Place? _place;
    private volatile bool _stays;

    /// <param name="seed">Of its random numbers.</param>
    /// <param name="room">The room.</param>
    /// <param name="nodes">The nodes that it may go to; may change.</param>
    /// <param name="publishers">
    /// How many publish. It first stays until it has a message of each: what it lacks is counted from there.
    /// </param>
    public ResumingClient(int seed, string room, ConcurrentDictionary<NodeProcess, bool> nodes, int publishers)
    {
        (_random, _room, _nodes, _publishers) = (new Random(seed), room, nodes, publishers);
        Running = RunAsync();
    }

    /// <summary>
    /// Completes when it knows a place in the room: from then on all that is published is to reach it.
    /// </summary>
    public Task Placed => _placed.Task;

    /// <summary>Completes with the last message.</summary>
    public Task Running { get; }

    /// <summary>The numbered messages that it kept, in the order in which they came.</summary>
    public List<Numbered> Received { get; } = [];

    /// <summary>Messages that came again, and were known by their ids.</summary>
    public int Dropped { get; private set; }

    /// <summary>How often it came back.</summary>
    public int Resumed { get; private set; }

    /// <summary>How many messages it was told that it lacks.</summary>
    public long ToldLost { get; private set; }

    /// <summary>How often it was told that nobody knows what it lacks.</summary>
    public int ToldUnknown { get; private set; }

    /// <summary>What else went on, for when a test fails.</summary>
    public ConcurrentQueue<string> Log { get; } = new();

    /// <summary>Goes no more: what it still lacks then comes to it at once.</summary>
    public void Stay() => _stays = true;

    private async Task RunAsync()
    {
        while (true)
        {
            try
            {
                if (await VisitAsync(_nodes.Keys.ElementAt(_random.Next(_nodes.Count))))
                {
                    return;
                }
            }
            catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException or ObjectDisposedException)
            {
                Log.Enqueue($"lost: {e.Message}");
            }

            await Load.GoOnAsync(TimeSpan.FromMilliseconds(_random.Next(AwayMaxMs)));
        }
    }

    /// <summary>Comes, stays for some messages, and goes without a word. True after the last message.</summary>
    private async Task<bool> VisitAsync(NodeProcess node)
    {
        await using var client = await node.ConnectAsync();
        var since = _place is null ? "null" : $"\"{_place}\"";
        var answer = JsonElement.Parse(
            await client.AckAsync("subscribe", $$"""{"room":"{{_room}}","since":{{since}}}""")
        );
        if (!answer.GetProperty("ok").GetBoolean())
        {
            Log.Enqueue($"refused: {answer}");
            return false;
        }

        Resume(answer.GetProperty("data"));
        for (var left = _random.Next(1, MessagesMax); left > 0 || _stays || _heard.Count < _publishers; left--)
        {
            if (Take(JsonElement.Parse(await client.ReadAsync())))
            {
                return true;
            }
        }

        client.Reset();
        return false;
    }

    private void Resume(JsonElement data)
    {
        Resumed += _place is null ? 0 : 1;
        if (!data.TryGetProperty("pos", out _))
        {
            return;
        }

        _place ??= Place.Of(data);
        _placed.TrySetResult();
        if (data.TryGetProperty("recovered", out var recovered) && !recovered.GetBoolean())
        {
            Log.Enqueue($"since {_place}: {data}");
            if (data.TryGetProperty("lost", out var lost))
            {
                ToldLost += lost.GetInt64();
            }
            else
            {
                ToldUnknown++;
                _place = new Place(Place.Of(data).Epoch, 0);
            }
        }
    }

    /// <summary>Takes what came; true for the last message.</summary>
    private bool Take(JsonElement frame)
    {
        var name = frame.GetProperty("event").GetString();
        if (name == "gap")
        {
            ToldLost += frame.GetProperty("data").GetProperty("lost").GetInt64();
        }

        if (!frame.TryGetProperty("id", out var id))
        {
            return false;
        }

        if (frame.TryGetProperty("pos", out _))
        {
            _place = Place.Of(frame);
        }

        if (!_ids.Add(id.GetString()!))
        {
            Dropped++;
            return false;
        }

        var data = frame.GetProperty("data");
        if (data.TryGetProperty("last", out _))
        {
            return true;
        }

        var message = new Numbered(data.GetProperty("p").GetString()!, data.GetProperty("n").GetInt32());
        _heard.Add(message.Publisher);
        Received.Add(message);
        return false;
    }
}
