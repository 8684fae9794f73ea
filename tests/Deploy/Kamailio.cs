namespace Dmb.Tests.Deploy;

/// <summary>A Kamailio with a configuration of deploy/kamailio, on a port of its own.</summary>
internal sealed class Kamailio : IAsyncDisposable
{
    public static readonly string Folder = Path.Combine(Repository.Root, "deploy", "kamailio");

    private readonly DirectoryInfo _run = Directory.CreateTempSubdirectory("dmb-kamailio");
    private readonly ChildProcess _process;

    private Kamailio(string folder, int node, string[] defined)
    {
        string[] all =
        [
            $"SIP_LISTEN=udp:127.0.0.1:{Port}",
            $"DMB_URL=\"http://127.0.0.1:{node}/_notify/\"",
            .. defined,
        ];
        _process = ChildProcess.Start(
            "kamailio",
            [
                "-f",
                Path.Combine(folder, "kamailio.cfg"),
                "-DD",
                "-E",
                "-Y",
                _run.FullName,
                .. all.SelectMany(one => (string[])["-A", one]),
            ],
            folder
        );
    }

    /// <summary>Its port of UDP.</summary>
    public int Port { get; } = RedisServer.FreePort();

    /// <summary>What it logged so far.</summary>
    public string[] Log => _process.Lines;

    /// <summary>Starts it with the files of the repository.</summary>
    /// <param name="node">The port of the broker.</param>
    /// <param name="defined">What is defined beside the addresses, such as DMB_SYNC.</param>
    public static Task<Kamailio> StartAsync(int node, params string[] defined) => StartAsync(Folder, node, defined);

    /// <summary>The same, with the files of a folder.</summary>
    public static async Task<Kamailio> StartAsync(string folder, int node, params string[] defined)
    {
        var kamailio = new Kamailio(folder, node, defined);
        await kamailio._process.LineAsync("udp: localhost:");

        // It names its address before it listens there.
        using var phone = new SipPhone("probe", kamailio.Port);
        await phone.IsAnsweredAsync();
        return kamailio;
    }

    public async ValueTask DisposeAsync()
    {
        await _process.DisposeAsync();
        _run.Delete(recursive: true);
    }
}
