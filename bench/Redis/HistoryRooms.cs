using System.Buffers.Text;
using System.Net;
using System.Net.Http.Headers;
using System.Text;

namespace Dmb.Bench.Redis;

/// <summary>1,000 rooms <c>endpoint:000000</c>… and the numbered messages that are published to them.</summary>
internal static class HistoryRooms
{
    public const int Count = 1_000;
    public const int PerFrame = 100;
    private const int BatchItems = 100;
    private const int BatchesAtOnce = 8;
    private const int DataBytes = 200;

    /// <summary>The name of a room.</summary>
    public static string Name(int room) => $"endpoint:{room:D6}";

    /// <summary>Publishes the numbers from <paramref name="first"/> on to each room, in order.</summary>
    /// <exception cref="IOException">Something was refused.</exception>
    public static async Task PublishAsync(IPEndPoint node, int first, int numbers)
    {
        using var http = new HttpClient();
        var url = new Uri($"http://{node}/_notify");
        if (numbers == 1)
        {
            var batches = Enumerable.Range(0, Count).Select(room => Item(room, first)).Chunk(BatchItems);
            await Parallel.ForEachAsync(batches, AtOnce(), async (items, _) => await PostAsync(http, url, items));
        }
        else
        {
            await Parallel.ForEachAsync(Enumerable.Range(0, Count), AtOnce(), async (room, _) =>
            {
                foreach (
                    var items in Enumerable.Range(first, numbers).Select(number => Item(room, number)).Chunk(BatchItems)
                )
                {
                    await PostAsync(http, url, items);
                }
            });
        }
    }

    /// <summary>
    /// The room and the number of a message, when the frame is one; with or without a place in history.
    /// </summary>
    public static bool TryRead(ReadOnlySpan<byte> frame, out int room, out int number)
    {
        (room, number) = (0, 0);
        var start = "{\"event\":\"call\",\"data\":{\"room\":"u8;
        if (!frame.StartsWith(start))
        {
            return false;
        }

        frame = frame[start.Length..];
        var next = ",\"n\":"u8;
        return Utf8Parser.TryParse(frame, out room, out int read)
            && frame[read..].StartsWith(next)
            && Utf8Parser.TryParse(frame[(read + next.Length)..], out number, out _);
    }

    private static ParallelOptions AtOnce() => new() { MaxDegreeOfParallelism = BatchesAtOnce };

    private static string Item(int room, int number)
    {
        var data = $"{{\"room\":{room},\"n\":{number},\"_in\":[\"{Name(room)}\"],\"pad\":\"";
        return $"{{\"event\":\"call\",\"data\":{data}{new string('x', DataBytes - data.Length - 2)}\"}}}}";
    }

    private static async Task PostAsync(HttpClient http, Uri url, string[] items)
    {
        try
        {
            using var body = new ByteArrayContent(Encoding.ASCII.GetBytes($"[{string.Join(',', items)}]"));
            body.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            using var answer = await http.PostAsync(url, body);
            var text = await answer.Content.ReadAsStringAsync();
            if (!text.StartsWith("{\"ok\":true", StringComparison.Ordinal))
            {
                throw new IOException($"A batch was refused: {text}");
            }
        }
        catch (HttpRequestException e)
        {
            throw new IOException(e.Message, e);
        }
    }
}
