namespace Dmb.Tests.SocketIo;

/// <summary>Socket.IO's own clients from npm, run by Node.</summary>
public static class NodeClients
{
    private const string Folder = "tests/SocketIo/clients";

    /// <summary>Starts a program of a page in the folder, with the client 4.8.4 as <c>socket.io-client</c>.</summary>
    /// <param name="text">Its text; without a client of its own it has <c>io</c>.</param>
    /// <param name="port">Where the node is, in the place of 8082 or the page's host.</param>
    public static async Task<ChildProcess> StartAsync(string text, int port)
    {
        var folder = await NpmFolder.OpenAsync(Folder);
        var program = text.Replace("'socket.io-client'", "'client4'", StringComparison.Ordinal)
            .Replace("http://localhost:8082", $"http://127.0.0.1:{port}", StringComparison.Ordinal)
            .Replace("https://dmb.example.com", $"http://127.0.0.1:{port}", StringComparison.Ordinal);
        var io = text.Contains("require(", StringComparison.Ordinal) ? "" : "const io = require('client4');\n";
        return ChildProcess.Start("node", ["-e", io + program], folder.Path);
    }

    /// <summary>Runs a script of the folder, and gives what it printed.</summary>
    public static async Task<string> RunScriptAsync(string script, params string[] arguments)
    {
        var folder = await NpmFolder.OpenAsync(Folder);
        return (await folder.RunAsync("node", [script, .. arguments])).Trim();
    }
}
