namespace Dmb.Tests.SocketIo;

/// <summary>Socket.IO's own clients from npm, run by Node.</summary>
public static class NodeClients
{
    /// <summary>Runs a script of the folder, and gives what it printed.</summary>
    public static async Task<string> RunScriptAsync(string script, params string[] arguments)
    {
        var folder = await NpmFolder.OpenAsync("tests/SocketIo/clients");
        return (await folder.RunAsync("node", [script, .. arguments])).Trim();
    }
}
