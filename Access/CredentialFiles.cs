using System.Runtime.InteropServices;

namespace Dmb.Access;

/// <summary>
/// The files of keys, read again when they change: keys are rotated without a restart. What is written is taken once it
/// has stayed the same for a round, so that half a file locks no caller out; what can't be read leaves the keys as they
/// were.
/// </summary>
internal sealed partial class CredentialFiles(
    HostKeys keys,
    AccessOptions options,
    TimeProvider time,
    ILogger<CredentialFiles> logger,
    UserTokens? tokens = null
) : IHostedService, IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly List<Watched> _files = [];
    private readonly Lock _looking = new();
    private ITimer? _timer;
    private PosixSignalRegistration? _hangup;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        Watch(options.KeysFile, text => keys.Replace(HostKeys.Read(text)));
        Watch(options.JwtKeys, text => tokens!.Replace(UserTokens.ReadKeys(text)));
        Watch(options.JwtSecretFile, text => tokens!.Replace(UserTokens.ReadSecret(text)));
        if (_files.Count > 0)
        {
            _hangup = PosixSignalRegistration.Create(PosixSignal.SIGHUP, context =>
            {
                context.Cancel = true;
                Look(mustTake: true);
            });

            // Armed anew after each round, so that two never overlap.
            _timer = time.CreateTimer(_ => LookAgain(), null, Interval, Timeout.InfiniteTimeSpan);
        }

        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose()
    {
        _hangup?.Dispose();
        _timer?.Dispose();
    }

    private void Watch(string path, Action<string> take)
    {
        if (path.Length > 0)
        {
            var text = File.ReadAllText(path);
            take(text);
            _files.Add(new Watched(path, take) { Taken = text, Seen = text });
        }
    }

    private void LookAgain()
    {
        Look(mustTake: false);
        _timer!.Change(Interval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Reads all files.</summary>
    /// <param name="mustTake">SIGHUP says that the files are complete: what they have is taken at once.</param>
    private void Look(bool mustTake)
    {
        lock (_looking)
        {
            foreach (var file in _files)
            {
                Look(file, mustTake);
            }
        }
    }

    private void Look(Watched file, bool mustTake)
    {
        try
        {
            var text = File.ReadAllText(file.Path);
            if (text != file.Taken && (mustTake || text == file.Seen))
            {
                file.Taken = text;
                file.Take(text);
                LogTaken(file.Path);
            }

            file.Seen = text;
            file.IsGone = false;
        }
        catch (FormatException bad)
        {
            LogBad(file.Path, bad.Message);
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            if (!file.IsGone)
            {
                LogBad(file.Path, gone.Message);
            }

            file.IsGone = true;
        }
    }

    [LoggerMessage(1010, LogLevel.Information, "Took the keys of {Path}, which has changed.")]
    private partial void LogTaken(string path);

    [LoggerMessage(1011, LogLevel.Warning, "Can't take the keys of {Path}, those from before stay: {Why}.")]
    private partial void LogBad(string path, string why);

    private sealed class Watched(string path, Action<string> take)
    {
        public string Path { get; } = path;

        public Action<string> Take { get; } = take;

        /// <summary>What was taken last.</summary>
        public required string Taken { get; set; }

        /// <summary>What was there in the last round.</summary>
        public required string Seen { get; set; }

        public bool IsGone { get; set; }
    }
}
