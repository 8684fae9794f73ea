namespace Dmb.Bench.Fuzz;

/// <summary>How a client goes that has sent all it has.</summary>
internal enum Leaving
{
    /// <summary>Reads until nothing comes for a moment, says that nothing more is sent, and reads to the end.</summary>
    EndAfterAnswer,

    /// <summary>Says at once that nothing more is sent, and reads to the end.</summary>
    End,

    /// <summary>Reads a little, and cuts the connection.</summary>
    ResetAfterAnswer,

    /// <summary>Cuts the connection at once.</summary>
    Reset,
}

/// <summary>What one client sends: a pure function of a seed and a number.</summary>
/// <param name="Number">Its number.</param>
/// <param name="Kind">What it is about.</param>
/// <param name="Pieces">What it sends, a piece a write.</param>
/// <param name="AwaitsHead">Whether it waits for the answer's head before the second piece.</param>
/// <param name="Leaving">How it goes.</param>
internal sealed record FuzzCase(int Number, string Kind, byte[][] Pieces, bool AwaitsHead, Leaving Leaving)
{
    public static readonly string[] Kinds =
    [
        "http",
        "publish",
        "batch",
        "register",
        "backend",
        "events",
        "handshake",
        "frames",
        "deflate",
        "polling",
        "socketio",
    ];

    // Frames are where the broker has most of its own code.
    private static readonly string[] Drawn = [.. Kinds, "frames", "frames", "frames", "socketio"];

    public bool IsSocket => Kind is "frames" or "deflate" or "socketio";

    /// <summary>Whether the first piece is answered with the sid that the second one uses.</summary>
    public bool AwaitsSid => Kind is "polling";

    public static string KindOf(int seed, int number) => KindOf(new Noise(seed, number));

    public static FuzzCase Make(int seed, int number)
    {
        var noise = new Noise(seed, number);
        var kind = KindOf(noise);
        var (first, then) = kind switch
        {
            "handshake" => (
                SocketCases.Handshake(noise),
                noise.Chance(50) ? SocketCases.Frames(noise, deflates: false) : ""
            ),
            "frames" => (SocketCases.GoodHandshake(noise, deflates: false), SocketCases.Frames(noise, deflates: false)),
            "deflate" => (SocketCases.GoodHandshake(noise, deflates: true), SocketCases.Frames(noise, deflates: true)),
            "socketio" => (SocketIoCases.Socket(noise), SocketIoCases.Frames(noise)),
            "polling" => (SocketIoCases.Polling(noise), SocketIoCases.Polls(noise)),
            _ => (HttpCases.Requests(noise, kind), ""),
        };
        var awaits = kind is "polling" || kind is "frames" or "deflate" or "socketio" && noise.Chance(60);
        var leaving = noise.Next(20) switch
        {
            < 15 => Leaving.EndAfterAnswer,
            < 18 => Leaving.End,
            18 => Leaving.ResetAfterAnswer,
            _ => Leaving.Reset,
        };
        byte[][] pieces =
            kind is "polling" ? [Noise.ToBytes(first), Noise.ToBytes(then)]
            : awaits ? [Noise.ToBytes(first), .. Cut(noise, then)]
            : [.. Cut(noise, first + then)];
        return new FuzzCase(number, kind, pieces, awaits, leaving);
    }

    private static string KindOf(Noise noise) => noise.Pick(Drawn);

    private static IEnumerable<byte[]> Cut(Noise noise, string text)
    {
        for (var cuts = noise.Chance(50) ? 0 : noise.Next(5); cuts > 0 && text.Length > 1; cuts--)
        {
            var at = 1 + noise.Next(text.Length - 1);
            yield return Noise.ToBytes(text[..at]);
            text = text[at..];
        }

        yield return Noise.ToBytes(text);
    }
}
